//! What other DNS servers reply.

use dns::fuzz::{copied, records, repeated};
use hickory_proto::op::Message;

use crate::clients::packet;

const QUESTIONS: [(&str, u16); 4] =
    [("a.example", 1), ("www.a.example", 28), ("_s._tcp.a.example", 33), ("example", 255)];
const LIMITS: [usize; 4] = [512, 1232, 4096, 65_535];

/// How a reply is to be handed on, told by the first byte; and the reply, its question put right with the highest
/// bit of that, as few replies that are damaged at random have one.
struct Case {
    query: Vec<u8>,
    limit: usize,
    reply: Vec<u8>,
}

fn case(data: &[u8]) -> Option<Case> {
    let (first, rest) = data.split_first()?;
    let (name, kind) = QUESTIONS[usize::from(first & 3)];
    let query = packet(name, kind);
    let mut reply = rest.to_vec();
    if first & 0x80 != 0 && reply.len() >= query.len() {
        reply[2] = reply[2] & 0x07 | 0x80;
        reply[4..6].copy_from_slice(&[0, 1]);
        reply[12..query.len()].copy_from_slice(&query[12..]);
    }
    Some(Case { query, limit: LIMITS[usize::from(first >> 2 & 3)], reply })
}

/// A reply is kept in the cache and said again.
pub(crate) fn repeat(data: &[u8]) {
    let Some(Case { query, limit, reply }) = case(data) else { return };
    for ttl in [None, Some(30)] {
        let Some(out) = repeated(&query, &reply, limit, ttl) else { continue };
        assert!(out.len() <= limit, "{} bytes of {limit}", out.len());
        assert_eq!(out[..2], query[..2], "the client's id");
        assert!(out.len() == 12 || out[12..query.len()] == query[12..], "the client's question");
        let (Some(before), Some(after)) = (records(&reply), records(&out)) else {
            // Data that cannot be read is nobody's business but the client's, so it is the same on both sides.
            assert!(records(&reply).is_none() || limit < 65_535, "it could be read before: {out:x?}");
            continue;
        };
        if ttl.is_none() {
            assert!(before.starts_with(&after), "{after:?} of {before:?}");
        }
        if Message::from_vec(&reply).is_ok()
            && let Err(error) = Message::from_vec(&out)
        {
            panic!("others cannot read {out:x?} of {reply:x?}: {error}");
        }
    }
}

/// The records of a reply become part of another one.
pub(crate) fn copy(data: &[u8]) {
    let Some(Case { query, limit, reply }) = case(data) else { return };
    let Some((out, fit)) = copied(&query, &reply, limit) else { return };
    assert!(out.len() <= limit, "{} bytes of {limit}", out.len());
    let (before, after) = (records(&reply).unwrap_or_default(), records(&out));
    let after = after.unwrap_or_else(|| panic!("it cannot be read: {out:x?}"));
    assert_eq!(after, before[..fit], "records are what they were");
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    /// An answer by its type and data; `\xC0\x0C` is the name asked for.
    type Answer<'a> = (u16, &'a [u8]);
    let soa: &[u8] = b"\x02ns\xC0\x0C\x02me\xC0\x0C\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05";
    let replies: [(u8, u16, &[Answer<'_>]); 6] = [
        (0, 0x8180, &[(1, &[192, 0, 2, 1]), (1, &[192, 0, 2, 2])]),
        (1, 0x8180, &[(5, b"\x01b\xC0\x0C"), (28, &[1; 16]), (46, &[7; 30])]),
        (2, 0x8180, &[(33, b"\0\x01\0\x02\0\x50\x03web\x01a\x07example\0"), (33, b"\0\x01\0\x02\0\x50\0")]),
        (
            3,
            0x8580,
            &[
                (6, soa),
                (2, b"\x02ns\xC0\x0C"),
                (15, b"\0\x0A\x02mx\xC0\x0C"),
                (16, b"\x05hello"),
                (39, b"\x01d\0"),
            ],
        ),
        (0, 0x8183, &[(6, soa)]),
        (1, 0x8380, &[(41, &[0; 8])]),
    ];
    let reply = |(question, flags, answers): &(u8, u16, &[Answer<'_>])| {
        let (name, kind) = QUESTIONS[usize::from(*question)];
        let mut reply = packet(name, kind);
        reply[2..4].copy_from_slice(&flags.to_be_bytes());
        reply[7] = answers.len() as u8;
        for (kind, data) in *answers {
            reply.extend_from_slice(b"\xC0\x0C");
            reply.extend_from_slice(&kind.to_be_bytes());
            reply.extend_from_slice(&[0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
            reply.extend_from_slice(data);
        }
        [0x00, 0x84, 0x8C].map(|how| [vec![how | question], reply.clone()].concat())
    };
    replies.iter().flat_map(reply).collect()
}
