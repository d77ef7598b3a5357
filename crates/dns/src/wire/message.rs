//! Replies as other servers send them.

use super::{HEADER, Malformed, Name, flag, kind, word};

/// The part of a message from another server that says what it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    packet: &'a [u8],
    /// The id of the query it replies to.
    pub(crate) id: u16,
    flags: u16,
}

/// A record of an answer, its names no longer compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its name in wire form.
    pub(crate) name: Box<[u8]>,
    /// Its type.
    pub(crate) kind: u16,
    /// How long it may be remembered, in seconds.
    pub(crate) ttl: u32,
    /// Its data.
    pub(crate) data: Box<[u8]>,
}

impl<'a> Message<'a> {
    /// Reads the header of a reply to an ordinary query.
    pub(crate) fn read(packet: &'a [u8]) -> Result<Self, Malformed> {
        let (id, flags) = (word(packet, 0)?, word(packet, 2)?);
        if packet.len() < HEADER || flags & flag::QR == 0 || flags & flag::OPCODE != 0 {
            return Err(Malformed);
        }
        Ok(Self { packet, id, flags })
    }

    /// The response code, without the upper bits of EDNS.
    pub(crate) fn rcode(self) -> u16 {
        self.flags & flag::RCODE
    }

    /// Whether the answer did not fit.
    pub(crate) fn truncated(self) -> bool {
        self.flags & flag::TC != 0
    }

    /// Whether it repeats exactly this question (name, type and class), in whatever case.
    pub(crate) fn is_about(self, question: &[u8]) -> bool {
        let Some(echoed) = self.packet.get(HEADER..HEADER + question.len()) else { return false };
        let (name, rest) = question.split_at(question.len() - 4);
        word(self.packet, 4) == Ok(1)
            && echoed[..name.len()].eq_ignore_ascii_case(name)
            && echoed[name.len()..] == *rest
    }

    /// Whether it carries no question, as some servers reply to what they cannot read.
    pub(crate) fn is_bare(self) -> bool {
        self.packet.len() == HEADER
    }

    /// The addresses in the answer and the aliases that lead to them.
    pub(crate) fn addresses(self) -> Result<Vec<Record>, Malformed> {
        let (_, end) = Name::read(self.packet, HEADER)?;
        let mut at = end + 4;
        let mut records = Vec::new();
        for _ in 0..word(self.packet, 6)? {
            let (record, end) = self.record(at)?;
            records.extend(record);
            at = end;
        }
        Ok(records)
    }

    /// The record at a place, if it is of a type that belongs to the way to an address.
    fn record(self, at: usize) -> Result<(Option<Record>, usize), Malformed> {
        let (name, head) = Name::read(self.packet, at)?;
        let kind = word(self.packet, head)?;
        let ttl = u32::from(word(self.packet, head + 4)?) << 16 | u32::from(word(self.packet, head + 6)?);
        let data = head + 10;
        let end = data + usize::from(word(self.packet, head + 8)?);
        let bytes = self.packet.get(data..end).ok_or(Malformed)?;
        let data = match (kind, bytes.len()) {
            (kind::A, 4) | (kind::AAAA, 16) => bytes.into(),
            (kind::CNAME, _) => {
                let (target, after) = Name::read(self.packet, data)?;
                if after != end {
                    return Err(Malformed);
                }
                target.wire().into()
            }
            _ => return Ok((None, end)),
        };
        Ok((Some(Record { name: name.wire().into(), kind, ttl, data }), end))
    }
}
