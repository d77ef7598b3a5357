//! A reply of an upstream resolver, in the form in which it is sent to clients.

use crate::wire::{Edns, HEADER, Message, Query, Question, flag, rcode};

use super::scan::{REFUSAL, ReplyError, Scan};

/// A reply to a question as bytes. For each client the bytes are copied, and what differs between clients is
/// overwritten.
#[derive(Debug)]
pub(crate) struct UpstreamReply {
    /// The question.
    pub(crate) question: Question,
    /// Whether and how it may be cached.
    pub(crate) cacheability: Cacheability,
    /// AA, RA, AD and TC.
    flags: u16,
    /// The response code, with the upper bits of EDNS.
    rcode: u16,
    /// All records except OPT, as bytes. Compression pointers in them are offsets of the whole message; they stay
    /// right because the question of every client has the same length.
    body: Box<[u8]>,
    records: Box<[RecordPlace]>,
    /// The number of records in the answer section, and in the answer and authority sections together.
    sections: (u16, u16),
}

/// The place of a record in the message.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordPlace {
    /// The offset of its TTL.
    pub(super) ttl: u16,
    /// The offset behind it; messages are at most 65,535 bytes long, so it fits.
    pub(super) end: u16,
}

/// Whether and how a reply may be cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cacheability {
    /// A positive answer, for this many seconds.
    Success(u32),
    /// A negative answer (NXDOMAIN or NODATA), for this many seconds (RFC 2308).
    Denial(u32),
    /// A failure (SERVFAIL).
    Failure,
    /// Not at all; clients may keep it for this many seconds.
    Uncacheable(u32),
}

impl UpstreamReply {
    /// Reads the reply to a question.
    ///
    /// # Errors
    /// [`ReplyError`] when it cannot be read or does not answer the question.
    pub(crate) fn read(packet: &[u8], question: &Question) -> Result<Self, ReplyError> {
        let message = Message::read(packet)?;
        if message.is_bare() {
            return Ok(Self::failure(question, message.rcode()));
        }
        if !message.is_about(question.wire()) {
            return Err(ReplyError::Foreign);
        }
        let scan = Scan::of(packet, question)?;
        let end = scan.records.last().map_or(scan.start, |spot| usize::from(spot.end));
        Ok(Self {
            question: question.clone(),
            cacheability: if message.truncated() {
                Cacheability::Uncacheable(scan.shortest())
            } else {
                scan.cacheability(question)
            },
            flags: message.flags() & (flag::AA | flag::RA | flag::AD | flag::TC),
            rcode: scan.rcode,
            body: packet[scan.start..end].into(),
            sections: (scan.counts[0], scan.counts[0] + scan.counts[1]),
            records: scan.records.into(),
        })
    }

    /// A reply with a response code and no records.
    pub(crate) fn failure(question: &Question, code: u16) -> Self {
        Self {
            question: question.clone(),
            cacheability: if code == rcode::SERVFAIL {
                Cacheability::Failure
            } else {
                Cacheability::Uncacheable(REFUSAL)
            },
            flags: flag::RA,
            rcode: code,
            body: Box::default(),
            records: Box::default(),
            sections: (0, 0),
        }
    }

    /// The response code.
    pub(crate) fn rcode(&self) -> u16 {
        self.rcode
    }

    /// Whether it has records in the answer section.
    pub(crate) fn answers(&self) -> bool {
        self.sections.0 > 0
    }

    /// About how much memory it takes, in bytes.
    pub(crate) fn weight(&self) -> usize {
        let records = self.records.len() * size_of::<RecordPlace>();
        size_of::<Self>() + self.question.wire().len() + self.body.len() + records
    }

    /// Writes the reply to a client that asks this question, of at most `limit` bytes. `ttl` takes the place of the
    /// TTL of all records.
    pub(crate) fn write(&self, query: &Query<'_>, limit: usize, ttl: Option<u32>, out: &mut Vec<u8>) {
        let edns = query.edns.map(|edns| Edns::ours(edns.dnssec_ok));
        let start = HEADER + query.question.len();
        let room = limit - edns.map_or(0, |edns| edns.record(0).len());
        let (fit, end) = if start + self.body.len() <= room {
            (self.records.len(), start + self.body.len())
        } else {
            let fit = self.records.partition_point(|spot| usize::from(spot.end) <= room);
            (fit, fit.checked_sub(1).map_or(start, |last| usize::from(self.records[last].end)))
        };
        let (answers, wanted) = self.sections;
        let count = fit as u16;
        let mut flags =
            flag::QR | query.flags & (flag::RD | flag::CD) | self.flags | self.rcode & flag::RCODE;
        // A reply without some additional records is not truncated (RFC 2181, 9).
        if count < wanted {
            flags |= flag::TC;
        }
        // AD is set only for clients that understand it (RFC 6840, 5.8).
        if query.flags & flag::AD == 0 && !edns.is_some_and(|edns| edns.dnssec_ok) {
            flags &= !flag::AD;
        }
        let additional = count.saturating_sub(wanted) + u16::from(edns.is_some());
        let authorities = count.min(wanted).saturating_sub(answers);
        out.clear();
        for word in [query.id, flags, 1, count.min(answers), authorities, additional] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(query.question);
        out.extend_from_slice(&self.body[..end - start]);
        if let Some(ttl) = ttl {
            let ttl = ttl.to_be_bytes();
            for spot in &self.records[..fit] {
                let at = usize::from(spot.ttl);
                out[at..at + 4].copy_from_slice(&ttl);
            }
        }
        if let Some(edns) = edns {
            out.extend_from_slice(&edns.record(self.rcode));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_replies::{TestReply, query};
    use super::*;
    use crate::wire::{HEADER, kind};

    fn written(sample: &TestReply, packet: &[u8], limit: usize, ttl: Option<u32>) -> Vec<u8> {
        let query = Query::decode(packet).unwrap();
        let mut out = vec![1, 2, 3];
        sample.entry().unwrap().write(&query, limit, ttl, &mut out);
        out
    }

    #[test]
    fn a_reply_has_the_id_the_case_and_the_flags_of_the_client() {
        let packet = query("WWW.Example.com", kind::A, Some(1232), flag::RD | flag::CD);
        let sample = TestReply::new("www.example.com", kind::A).cd().answer(
            "www.example.com",
            kind::A,
            60,
            &[192, 0, 2, 1],
        );
        let reply = written(&sample, &packet, 1232, Some(7));
        let message = Message::read(&reply).unwrap();
        assert_eq!(message.id, 0x1234);
        assert_eq!(message.flags() & (flag::RD | flag::CD | flag::RA), flag::RD | flag::CD | flag::RA);
        assert_eq!(&reply[HEADER..HEADER + 17], b"\x03WWW\x07Example\x03com\0");
        assert_eq!(message.records().unwrap()[0].1.ttl, 7);
        assert_eq!(reply.len() - 11, reply.windows(4).position(|four| four == [192, 0, 2, 1]).unwrap() + 4);
    }

    #[test]
    fn the_flag_ad_is_set_only_for_clients_that_understand_it() {
        let sample =
            TestReply::new("a.example", kind::A).flags(flag::AD).answer("a.example", kind::A, 60, &[0; 4]);
        for (flags, told) in [(flag::RD, false), (flag::RD | flag::AD, true)] {
            let reply = written(&sample, &query("a.example", kind::A, None, flags), 512, None);
            assert_eq!(Message::read(&reply).unwrap().flags() & flag::AD != 0, told);
        }
    }

    /// RFC 2181, 9.
    #[test]
    fn records_that_do_not_fit_are_left_out_and_the_reply_is_truncated_unless_they_are_additional() {
        let packet = query("a.example", kind::TXT, None, flag::RD);
        let text = [&[200][..], &[b'x'; 200]].concat();
        let mut sample = TestReply::new("a.example", kind::TXT);
        for _ in 0..2 {
            sample = sample.answer("a.example", kind::TXT, 60, &text);
        }
        let more = sample.clone().additional("b.example", kind::TXT, 60, &text);
        let whole = written(&sample, &packet, 512, None);
        assert_eq!(written(&more, &packet, 512, None), whole, "the additional record is left out");
        assert!(!Message::read(&whole).unwrap().truncated());
        let long = sample.answer("a.example", kind::TXT, 60, &text);
        let cut = written(&long, &packet, 512, None);
        let message = Message::read(&cut).unwrap();
        assert!(message.truncated() && cut.len() <= 512);
        assert_eq!((message.answers(), message.records().unwrap().len()), (2, 2));
    }
}
