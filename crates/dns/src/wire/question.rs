//! Questions to upstream resolvers.

use std::fmt;

use super::{CLASS_IN, Edns, HEADER, Name, Query, flag, kind};

/// A question with all that the answer of a resolver depends on: the name in lower case, type, class, and flags. Equal
/// questions have equal answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    /// Name, type and class as a message carries them.
    wire: Box<[u8]>,
    flags: QueryFlags,
}

/// The flags of a query that the answer of a resolver depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct QueryFlags {
    /// RD and CD as bits of a header.
    header: u16,
    dnssec_ok: bool,
}

impl QueryFlags {
    /// The flags of a query.
    pub(crate) fn of(query: &Query<'_>) -> Self {
        let dnssec_ok = query.edns.is_some_and(|edns| edns.dnssec_ok);
        Self { header: query.flags & (flag::RD | flag::CD), dnssec_ok }
    }
}

impl Question {
    /// The question of a query.
    pub(crate) fn of(query: &Query<'_>) -> Self {
        let parts = [query.name.wire(), &query.kind.to_be_bytes(), &query.class.to_be_bytes()];
        Self { wire: parts.concat().into(), flags: QueryFlags::of(query) }
    }

    /// A question of class IN that the server asks on its own account.
    pub(crate) fn new(name: &Name, kind: u16, recursion: bool) -> Self {
        let wire = [name.wire(), &kind.to_be_bytes(), &CLASS_IN.to_be_bytes()].concat().into();
        let header = if recursion { flag::RD } else { 0 };
        Self { wire, flags: QueryFlags { header, dnssec_ok: false } }
    }

    /// Whether a query asks this question.
    pub(crate) fn is_that_of(&self, query: &Query<'_>) -> bool {
        let (name, rest) = self.wire.split_at(self.wire.len() - 4);
        name == query.name.wire()
            && rest[..2] == query.kind.to_be_bytes()
            && rest[2..] == query.class.to_be_bytes()
            && self.flags == QueryFlags::of(query)
    }

    /// Name, type and class as a message carries them, in lower case.
    pub(crate) fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// The flags.
    pub(crate) fn flags(&self) -> QueryFlags {
        self.flags
    }

    /// The name asked for.
    pub(crate) fn name(&self) -> Name {
        // The bytes were made of a name, so they can be read.
        Name::read(&self.wire, 0).map_or_else(|_| Name::root(), |(name, _)| name)
    }

    /// The type asked for.
    pub(crate) fn kind(&self) -> u16 {
        let at = self.wire.len() - 4;
        u16::from_be_bytes([self.wire[at], self.wire[at + 1]])
    }

    /// The class asked for.
    pub(crate) fn class(&self) -> u16 {
        let at = self.wire.len() - 2;
        u16::from_be_bytes([self.wire[at], self.wire[at + 1]])
    }

    /// The packet of the query to a resolver. AD is always set (RFC 6840, 5.7), so that the reply can be told to
    /// clients that ask for authenticated data and to others. The OPT record is that of this server, not of the
    /// client: EDNS is negotiated on each hop (RFC 6891, 6.2.6).
    pub(crate) fn packet(&self, id: u16, edns: bool) -> Vec<u8> {
        let flags = self.flags.header | flag::AD;
        let mut packet = Vec::with_capacity(HEADER + self.wire.len() + 11);
        for word in [id, flags, 1, 0, 0, u16::from(edns)] {
            packet.extend_from_slice(&word.to_be_bytes());
        }
        packet.extend_from_slice(&self.wire);
        if edns {
            packet.extend_from_slice(&Edns::ours(self.flags.dnssec_ok).record(0));
        }
        packet
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match kind::name(self.kind()) {
            Some(kind) => write!(f, "{} {kind}", self.name()),
            None => write!(f, "{} TYPE{}", self.name(), self.kind()),
        }
    }
}
