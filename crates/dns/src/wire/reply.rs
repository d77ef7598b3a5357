//! Replies as they are written.

use super::{Edns, HEADER, PLAIN_UDP, Query, flag};

/// The last place a compression pointer can lead to.
pub(crate) const LAST_POINTED: usize = 0x3FFF;

/// Where a record goes; records are written in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// What was asked for.
    Answer,
    /// Who is responsible, and how long an absence may be remembered.
    Authority,
    /// What the client would ask next; left out where it does not fit.
    Additional,
}

/// A reply being written into a buffer.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    out: &'a mut Vec<u8>,
    limit: usize,
    edns: Option<Edns>,
    flags: u16,
    counts: [u16; 3],
}

/// A compression pointer to a place in the message, as a last part of a name.
pub(crate) const fn pointer(place: usize) -> [u8; 2] {
    debug_assert!(place <= LAST_POINTED);
    (0xC000 | place as u16).to_be_bytes()
}

impl<'a> Reply<'a> {
    /// Begins the reply to a query in place of what the buffer holds. `limit` is its largest size in bytes.
    pub(crate) fn to(query: &Query<'_>, limit: usize, out: &'a mut Vec<u8>) -> Self {
        out.clear();
        out.extend_from_slice(&query.id.to_be_bytes());
        out.extend_from_slice(&[0; HEADER - 2]);
        out.extend_from_slice(query.question);
        let edns = query.edns.map(|edns| Edns::ours(edns.dnssec_ok));
        let flags = flag::QR | query.flags & (flag::RD | flag::CD);
        let limit = limit - edns.map_or(0, |edns| edns.record(0).len());
        Self { out, limit, edns, flags, counts: [0; 3] }
    }

    /// Writes a reply without even a question, for a query that could not be read.
    pub(crate) fn header_only(id: u16, flags: u16, rcode: u16, out: &mut Vec<u8>) {
        let flags = flag::QR | flags & (flag::OPCODE | flag::RD | flag::CD) | rcode;
        out.clear();
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&flags.to_be_bytes());
        out.extend_from_slice(&[0; HEADER - 4]);
    }

    /// Writes a reply without records, whose response code says why.
    pub(crate) fn failure(query: &Query<'_>, rcode: u16, out: &mut Vec<u8>) {
        Reply::to(query, PLAIN_UDP, out).finish(rcode);
    }

    /// Whether something asked for did not fit.
    pub(crate) fn truncated(&self) -> bool {
        self.flags & flag::TC != 0
    }

    /// Where the next record will begin.
    pub(crate) fn place(&self) -> usize {
        self.out.len()
    }

    /// Sets flags of the header.
    pub(crate) fn set(&mut self, flags: u16) {
        self.flags |= flags;
    }

    /// Adds a record of class IN, its name and data given in parts. One that does not fit is left out, and the
    /// reply marked as truncated unless it only was additional (RFC 2181, 9). Tells whether it fit.
    pub(crate) fn record(
        &mut self,
        section: Section,
        name: &[&[u8]],
        kind: u16,
        ttl: u32,
        data: &[&[u8]],
    ) -> bool {
        let size = |parts: &[&[u8]]| parts.iter().map(|part| part.len()).sum::<usize>();
        let length = size(data);
        if !self.has_room(section, size(name) + 10 + length) {
            return false;
        }
        name.iter().for_each(|part| self.out.extend_from_slice(part));
        self.out.extend_from_slice(&kind.to_be_bytes());
        self.out.extend_from_slice(&super::CLASS_IN.to_be_bytes());
        self.out.extend_from_slice(&ttl.to_be_bytes());
        self.out.extend_from_slice(&(length as u16).to_be_bytes());
        data.iter().for_each(|part| self.out.extend_from_slice(part));
        self.counts[section as usize] += 1;
        true
    }

    /// Adds an address of class IN under a name that stands elsewhere in the message, as [`Reply::record`] does: with
    /// a size that is known beforehand, as there may be a hundred of them.
    #[inline]
    pub(crate) fn address<const SIZE: usize>(
        &mut self,
        section: Section,
        name: [u8; 2],
        (kind, ttl): (u16, u32),
        address: [u8; SIZE],
    ) -> bool {
        const HEAD: usize = 12;
        const LONGEST: usize = HEAD + 16;
        if !self.has_room(section, HEAD + SIZE) {
            return false;
        }
        let mut bytes = [0; LONGEST];
        bytes[..2].copy_from_slice(&name);
        bytes[2..4].copy_from_slice(&kind.to_be_bytes());
        bytes[4..6].copy_from_slice(&super::CLASS_IN.to_be_bytes());
        bytes[6..10].copy_from_slice(&ttl.to_be_bytes());
        bytes[10..HEAD].copy_from_slice(&(SIZE as u16).to_be_bytes());
        bytes[HEAD..HEAD + SIZE].copy_from_slice(&address);
        self.out.extend_from_slice(&bytes[..HEAD + SIZE]);
        self.counts[section as usize] += 1;
        true
    }

    /// Whether a record of so many bytes fits; marks the reply as truncated if one that was asked for does not.
    #[inline]
    fn has_room(&mut self, section: Section, size: usize) -> bool {
        let fits = !self.truncated() && self.out.len() + size <= self.limit;
        if !fits && section != Section::Additional {
            self.set(flag::TC);
        }
        fits
    }

    /// Completes the reply. Response codes above 15 reach only clients that speak EDNS.
    pub(crate) fn finish(mut self, rcode: u16) {
        if let Some(edns) = self.edns {
            self.out.extend_from_slice(&edns.record(rcode));
            self.counts[Section::Additional as usize] += 1;
        }
        let flags = self.flags | rcode & flag::RCODE;
        let [answers, authorities, additionals] = self.counts;
        for (word, value) in [flags, 1, answers, authorities, additionals].into_iter().enumerate() {
            let at = 2 + 2 * word;
            self.out[at..at + 2].copy_from_slice(&value.to_be_bytes());
        }
    }
}
