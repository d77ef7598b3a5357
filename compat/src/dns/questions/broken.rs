//! Questions that break rules, or that only rules of their own allow.

use crate::dns::codes::{A, ANY, SOA};
use crate::dns::name;
use crate::dns::question::{Edns, Question};

/// Strange opcodes, classes, EDNS versions and messages about names of this zone.
pub(super) fn questions(zone: &str) -> Vec<Question> {
    let service = format!("web.default.svc.{zone}.");
    let ask = || Question::new(&service, A);
    let edns = |size, version, options: &[u8]| {
        ask().with(|proper| {
            proper.edns = Some(Edns { size, version, dnssec: false, options: options.to_vec() });
        })
    };
    let mut questions = Vec::new();
    for opcode in [1, 2, 3, 4, 5, 6, 15] {
        questions.push(ask().with(|proper| proper.opcode = opcode));
    }
    for class in [3, 4, 254, 255, 0, 9] {
        questions.push(ask().with(|proper| proper.class = class));
    }
    for kind in [0, 41, 250, 253, 254, 65_535] {
        questions.push(Question::new(&service, kind));
    }
    questions.push(Question::new("version.bind.", 16).with(|proper| proper.class = 3));
    questions.extend([edns(1232, 1, b""), edns(1232, 255, b""), edns(0, 0, b"")]);
    // Cookies that are too short and that carry a server's part.
    questions.push(edns(1232, 0, b"\0\x0a\0\x03abc"));
    questions.push(edns(1232, 0, b"\0\x0a\0\x10abcdefghijklmnop"));
    questions.push(Question::new(&format!("{}.{zone}.", "a".repeat(63)), A));
    // 255 bytes are the most that a name may have, these are 257.
    questions.push(Question::new(&format!("{0}.{0}.{0}.{0}.", "a".repeat(63)), A));
    questions.push(Question::new(&format!("web\\000.default.svc.{zone}."), A));
    questions.push(Question::new(&format!("web.default\\.svc.{zone}."), A));
    questions.push(Question::new(&format!("\\255\\200.default.svc.{zone}."), ANY));
    questions.extend(messages(&service).into_iter().map(|bytes| Question::bytes(&bytes)));
    questions
}

/// Messages from behind the ID.
fn messages(service: &str) -> Vec<Vec<u8>> {
    let head = |flags: [u8; 2], counts: [u8; 4]| -> Vec<u8> {
        flags.into_iter().chain(counts.into_iter().flat_map(|count| [0, count])).collect()
    };
    let asked = [name::encode(service), vec![0, 1, 0, 1]].concat();
    let with = |flags, counts, rest: &[&[u8]]| [head(flags, counts), rest.concat()].concat();
    let opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\0".as_slice();
    let record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\xc0\0\x02\x01".as_slice();
    let start = [name::encode("svc.cluster.local."), SOA.to_be_bytes().to_vec(), vec![0, 1]].concat();
    vec![
        // Nothing, half a header, only a header.
        vec![],
        vec![1],
        vec![1, 0, 0, 1],
        with([1, 0], [0, 0, 0, 0], &[]),
        with([1, 0], [1, 0, 0, 0], &[]),
        // A reply.
        with([0x81, 0], [1, 0, 0, 0], &[&asked]),
        // Two questions, none, more said than there are.
        with([1, 0], [2, 0, 0, 0], &[&asked, &start]),
        with([1, 0], [2, 0, 0, 0], &[&asked]),
        with([1, 0], [0, 0, 0, 1], &[opt]),
        // Records where a query has none.
        with([1, 0], [1, 1, 0, 0], &[&asked, record]),
        with([1, 0], [1, 0, 1, 0], &[&asked, record]),
        with([1, 0], [1, 0, 0, 1], &[&asked, record]),
        // Two OPT records; one with another owner; one that is cut off; one with a wrong length of its options.
        with([1, 0], [1, 0, 0, 2], &[&asked, opt, opt]),
        with([1, 0], [1, 0, 0, 1], &[&asked, b"\x01a", opt]),
        with([1, 0], [1, 0, 0, 1], &[&asked, &opt[..7]]),
        with([1, 0], [1, 0, 0, 1], &[&asked, &opt[..9], b"\0\x09\0\x0a\0\x08"]),
        // Bytes behind the end.
        with([1, 0], [1, 0, 0, 0], &[&asked, b"trailing"]),
        // Names: a pointer to itself, one behind the end, a label that is none, one that is cut off.
        with([1, 0], [1, 0, 0, 0], &[b"\xc0\x0c\0\x01\0\x01"]),
        with([1, 0], [1, 0, 0, 0], &[b"\xff\xff\0\x01\0\x01"]),
        with([1, 0], [1, 0, 0, 0], &[b"\x80a\0\0\x01\0\x01"]),
        with([1, 0], [1, 0, 0, 0], &[b"\x0fabc\0\0\x01\0\x01"]),
        with([1, 0], [1, 0, 0, 0], &[&asked[..asked.len() - 3]]),
        // AA, TC, RA, the reserved bit and a response code in a query.
        with([0x05, 0], [1, 0, 0, 0], &[&asked]),
        with([0x03, 0], [1, 0, 0, 0], &[&asked]),
        with([1, 0x80], [1, 0, 0, 0], &[&asked]),
        with([1, 0x40], [1, 0, 0, 0], &[&asked]),
        with([1, 0x03], [1, 0, 0, 0], &[&asked]),
    ]
}
