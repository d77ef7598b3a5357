//! Writing replies.

use super::{Edns, HEADER, PLAIN_UDP, Query, flag};

/// The largest offset that a compression pointer can hold.
pub(crate) const LAST_POINTED: usize = 0x3FFF;

/// The section of a record. Records are written in the order of the sections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// The records asked for.
    Answer,
    /// The SOA or NS records of the zone; the SOA record says how long a negative answer may be cached.
    Authority,
    /// Records that the client would ask for next. Those that do not fit are left out.
    Additional,
}

/// A reply that is being written into a buffer.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    out: &'a mut Vec<u8>,
    limit: usize,
    edns: Option<Edns>,
    flags: u16,
    counts: [u16; 3],
}

/// A compression pointer to an offset of the message, which can be the last part of a name.
pub(crate) const fn pointer(place: usize) -> [u8; 2] {
    debug_assert!(place <= LAST_POINTED);
    (0xC000 | place as u16).to_be_bytes()
}

impl<'a> Reply<'a> {
    /// Clears the buffer and begins the reply to a query. `limit` is the size of the largest reply in bytes.
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

    /// Writes a reply that is a header only, to a query that could not be read.
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

    /// Whether a record of the answer or authority section did not fit.
    pub(crate) fn truncated(&self) -> bool {
        self.flags & flag::TC != 0
    }

    /// The offset of the next record.
    pub(crate) fn place(&self) -> usize {
        self.out.len()
    }

    /// Sets flags of the header.
    pub(crate) fn set(&mut self, flags: u16) {
        self.flags |= flags;
    }

    /// Adds a record of class IN, its name and data given in parts. Returns whether it fit. A record that does not fit
    /// is left out; unless it is an additional one, the reply is marked as truncated (RFC 2181, 9).
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

    /// Adds an address record of class IN whose owner name is a pointer. Does what [`Reply::record`] does, but faster
    /// since the size is known when it is compiled: a reply may have a hundred addresses.
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

    /// Whether a record of `size` bytes fits. If it does not and is not an additional one, marks the reply as
    /// truncated.
    #[inline]
    fn has_room(&mut self, section: Section, size: usize) -> bool {
        let fits = !self.truncated() && self.out.len() + size <= self.limit;
        if !fits && section != Section::Additional {
            self.set(flag::TC);
        }
        fits
    }

    /// Completes the reply. Response codes above 15 need EDNS; other clients see their lower four bits.
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
