//! Replies of upstream resolvers for tests.

use super::reply::UpstreamReply;
use super::scan::ReplyError;
use crate::wire::{CLASS_IN, Edns, HEADER, Name, Query, Question, Section, flag, kind};

/// A reply, built step by step.
#[derive(Clone)]
pub(super) struct TestReply {
    query: Vec<u8>,
    flags: u16,
    sections: [Vec<Vec<u8>>; 3],
}

/// A name in wire form.
pub(super) fn name(text: &str) -> Vec<u8> {
    Name::from_text(text).unwrap().wire().to_vec()
}

/// The data of an SOA record that lets negative answers be cached for `minimum` seconds.
pub(super) fn soa(minimum: u32) -> Vec<u8> {
    [name("ns.example"), name("admin.example"), vec![0; 16], minimum.to_be_bytes().to_vec()].concat()
}

/// A query with the id 0x1234 and the case of `text`; with an OPT record of size `edns`, if that is given.
pub(super) fn query(text: &str, kind: u16, edns: Option<u16>, flags: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    for word in [0x1234, flags, 1, 0, 0, u16::from(edns.is_some())] {
        packet.extend_from_slice(&word.to_be_bytes());
    }
    for label in text.split('.') {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&CLASS_IN.to_be_bytes());
    packet.extend(edns.into_iter().flat_map(|size| Edns { size, ..Edns::ours(false) }.record(0)));
    packet
}

impl TestReply {
    /// A reply to a question with recursion desired.
    pub(super) fn new(text: &str, kind: u16) -> Self {
        Self {
            query: query(text, kind, None, flag::RD),
            flags: flag::QR | flag::RA,
            sections: Default::default(),
        }
    }

    /// Sets CD in the question.
    pub(super) fn cd(mut self) -> Self {
        self.query[3] |= flag::CD as u8;
        self
    }

    /// Sets flags.
    pub(super) fn flags(mut self, flags: u16) -> Self {
        self.flags |= flags;
        self
    }

    /// Sets the response code.
    pub(super) fn rcode(self, rcode: u16) -> Self {
        self.flags(rcode)
    }

    /// Adds a record to the answer section.
    pub(super) fn answer(self, owner: &str, kind: u16, ttl: u32, data: &[u8]) -> Self {
        self.record(Section::Answer, owner, kind, ttl, data)
    }

    /// Adds a record to the authority section.
    pub(super) fn authority(self, owner: &str, kind: u16, ttl: u32, data: &[u8]) -> Self {
        self.record(Section::Authority, owner, kind, ttl, data)
    }

    /// Adds a record to the additional section.
    pub(super) fn additional(self, owner: &str, kind: u16, ttl: u32, data: &[u8]) -> Self {
        self.record(Section::Additional, owner, kind, ttl, data)
    }

    /// Adds an OPT record with the upper bits of a response code.
    pub(super) fn edns(mut self, rcode: u16) -> Self {
        self.sections[2].push(Edns::ours(false).record(rcode).to_vec());
        self
    }

    fn record(mut self, section: Section, owner: &str, kind: u16, ttl: u32, data: &[u8]) -> Self {
        let head = [&kind.to_be_bytes()[..], &CLASS_IN.to_be_bytes(), &ttl.to_be_bytes()].concat();
        let length = (data.len() as u16).to_be_bytes();
        self.sections[section as usize].push([&name(owner), &head, &length[..], data].concat());
        self
    }

    /// The question.
    pub(super) fn question(&self) -> Question {
        Question::of(&Query::decode(&self.query).unwrap())
    }

    /// The query.
    pub(super) fn asked(&self) -> &[u8] {
        &self.query
    }

    /// The reply as bytes.
    pub(super) fn packet(&self) -> Vec<u8> {
        let mut packet = Vec::new();
        let counts = [0, 1, 2].map(|at| self.sections[at].len() as u16);
        for word in [0, self.flags, 1, counts[0], counts[1], counts[2]] {
            packet.extend_from_slice(&word.to_be_bytes());
        }
        packet.extend_from_slice(self.question().wire());
        debug_assert_eq!(packet.len(), HEADER + self.question().wire().len());
        packet.extend(self.sections.iter().flatten().flatten());
        packet
    }

    /// The reply as the cache reads it.
    pub(super) fn entry(&self) -> Result<UpstreamReply, ReplyError> {
        UpstreamReply::read(&self.packet(), &self.question())
    }
}

/// A reply with an address of a name, with a TTL in seconds.
pub(super) fn address(text: &str, ttl: u32) -> TestReply {
    TestReply::new(text, kind::A).answer(text, kind::A, ttl, &[192, 0, 2, 1])
}
