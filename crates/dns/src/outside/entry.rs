//! What resolvers said, ready to be said again.

use crate::forward::Question;
use crate::wire::{Edns, HEADER, Message, Query, Section, flag, rcode};

use super::scan::{Flaw, Scan};

/// A reply to a question as bytes: it is copied, and what differs from client to client is written over.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What it replies to.
    pub(crate) question: Question,
    /// What it says.
    pub(crate) verdict: Verdict,
    /// AA, RA and AD.
    flags: u16,
    /// With the upper bits of EDNS.
    rcode: u16,
    /// All records but OPT. Their names are compressed by places in the whole message, which stay right as the
    /// question is as long for every client.
    body: Box<[u8]>,
    records: Box<[Spot]>,
    /// How many records are not additional, and how many of these answer.
    sections: (u16, u16),
}

/// Where a record is in the message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    /// Its TTL.
    pub(super) ttl: u16,
    /// Its end; the last byte of the longest message has a number that fits.
    pub(super) end: u16,
}

/// What a reply says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is what was asked for, for so many seconds.
    Success(u32),
    /// There is not, for so many seconds (RFC 2308).
    Denial(u32),
    /// The resolver cannot tell.
    Failure,
    /// Nothing that could be said again.
    Fleeting,
}

impl Entry {
    /// Reads the reply to a question.
    ///
    /// # Errors
    /// When it is malformed or does not answer the question.
    pub(crate) fn read(packet: &[u8], question: &Question) -> Result<Self, Flaw> {
        let message = Message::read(packet)?;
        if message.is_bare() {
            return Ok(Self::failure(question, message.rcode()));
        }
        let scan = Scan::of(packet, question)?;
        let end = scan.records.last().map_or(scan.start, |spot| usize::from(spot.end));
        Ok(Self {
            question: question.clone(),
            verdict: if message.truncated() { Verdict::Fleeting } else { scan.verdict(question) },
            flags: message.flags() & (flag::AA | flag::RA | flag::AD | flag::TC),
            rcode: scan.rcode,
            body: packet[scan.start..end].into(),
            sections: (scan.counts[0], scan.counts[0] + scan.counts[1]),
            records: scan.records.into(),
        })
    }

    /// A reply without records.
    pub(crate) fn failure(question: &Question, code: u16) -> Self {
        Self {
            question: question.clone(),
            verdict: if code == rcode::SERVFAIL { Verdict::Failure } else { Verdict::Fleeting },
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

    /// How many bytes of memory it takes, about.
    pub(crate) fn weight(&self) -> usize {
        let records = self.records.len() * size_of::<Spot>();
        size_of::<Self>() + self.question.wire().len() + self.body.len() + records
    }

    /// Writes the reply of `limit` bytes at most to a client that asks this question, with one TTL for all records,
    /// or with theirs.
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
        // RFC 2181, 9: only what is asked for is missed.
        if count < wanted {
            flags |= flag::TC;
        }
        // RFC 6840, 5.8: only to those who understand it.
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

/// The number of a section in the counts of a header.
pub(super) const SECTIONS: [Section; 3] = [Section::Answer, Section::Authority, Section::Additional];
