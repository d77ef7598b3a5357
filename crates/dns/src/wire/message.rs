//! Reading replies of other servers.

use super::{HEADER, Malformed, Name, Section, flag, kind, rcode, word};

/// A reply of another server, of which the header was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    packet: &'a [u8],
    /// The id of the query it replies to.
    pub(crate) id: u16,
    flags: u16,
}

/// A resource record, its names not compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// Its owner name in wire form.
    pub(crate) name: Box<[u8]>,
    /// Its type.
    pub(crate) kind: u16,
    /// Its TTL in seconds.
    pub(crate) ttl: u32,
    /// Its data.
    pub(crate) data: Box<[u8]>,
}

impl<'a> Message<'a> {
    /// Reads the header.
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

    /// The flags of the header, with opcode and response code.
    pub(crate) fn flags(self) -> u16 {
        self.flags
    }

    /// Whether the answer did not fit.
    pub(crate) fn truncated(self) -> bool {
        self.flags & flag::TC != 0
    }

    /// Whether it repeats this question (name, type and class) and no other. The case of the name does not matter.
    pub(crate) fn is_about(self, question: &[u8]) -> bool {
        let Some(echoed) = self.packet.get(HEADER..HEADER + question.len()) else { return false };
        let (name, rest) = question.split_at(question.len() - 4);
        word(self.packet, 4) == Ok(1)
            && echoed[..name.len()].eq_ignore_ascii_case(name)
            && echoed[name.len()..] == *rest
    }

    /// Whether it is a header only, as some servers send in reply to a query that they cannot read.
    pub(crate) fn is_bare(self) -> bool {
        self.packet.len() == HEADER
    }

    /// How many records the answer has.
    pub(crate) fn answers(self) -> u16 {
        word(self.packet, 6).unwrap_or(0)
    }

    /// The addresses of a name and the aliases that lead to them, with the response code; `None` if the reply is a
    /// failure or cannot be read.
    pub(crate) fn chain(self, name: &[u8]) -> Option<(Vec<Record>, u16)> {
        let code = self.rcode();
        let settled = matches!(code, rcode::NOERROR | rcode::NXDOMAIN);
        let records = settled.then(|| self.addresses().ok())??;
        Some((on_the_way(name, records), code))
    }

    /// The addresses in the answer and the aliases that lead to them.
    fn addresses(self) -> Result<Vec<Record>, Malformed> {
        let records = self.records()?.into_iter();
        let on_the_way = |kind| matches!(kind, kind::A | kind::AAAA | kind::CNAME);
        Ok(records
            .filter(|(section, record)| *section == Section::Answer && on_the_way(record.kind))
            .map(|(_, record)| record)
            .collect())
    }

    /// All records, in order, without OPT.
    ///
    /// # Errors
    /// [`Malformed`] when a record cannot be read, or is cut off by the end of the message.
    pub(crate) fn records(self) -> Result<Vec<(Section, Record)>, Malformed> {
        let mut at = HEADER;
        for _ in 0..word(self.packet, 4)? {
            at = Name::read(self.packet, at)?.1 + 4;
        }
        let mut records = Vec::new();
        let sections = [Section::Answer, Section::Authority, Section::Additional];
        for (place, section) in sections.into_iter().enumerate() {
            for _ in 0..word(self.packet, 6 + 2 * place)? {
                let (record, end) = self.record(at)?;
                if record.kind != kind::OPT {
                    records.push((section, record));
                }
                at = end;
            }
        }
        Ok(records)
    }

    fn record(self, at: usize) -> Result<(Record, usize), Malformed> {
        let (name, head) = Name::read(self.packet, at)?;
        let kind = word(self.packet, head)?;
        let ttl = u32::from(word(self.packet, head + 4)?) << 16 | u32::from(word(self.packet, head + 6)?);
        let data = head + 10;
        let end = data + usize::from(word(self.packet, head + 8)?);
        let bytes = self.packet.get(data..end).ok_or(Malformed)?;
        let fixed = match kind {
            kind::A => Some(4),
            kind::AAAA => Some(16),
            _ => None,
        };
        if fixed.is_some_and(|length| length != bytes.len()) {
            return Err(Malformed);
        }
        let data = match names_inside(kind) {
            Some((before, count)) => {
                let mut whole = bytes.get(..before).ok_or(Malformed)?.to_vec();
                let mut at = data + before;
                for _ in 0..count {
                    let (name, after) = Name::read_as_is(self.packet, at)?;
                    whole.extend_from_slice(&name);
                    at = after;
                }
                whole.extend_from_slice(self.packet.get(at..end).ok_or(Malformed)?);
                whole.into()
            }
            None => bytes.into(),
        };
        Ok((Record { name: name.wire().into(), kind, ttl, data }, end))
    }
}

/// The names in the data of records of a type: after how many bytes they begin, and how many follow each other. `None`
/// if there are none.
pub(crate) fn names_inside(kind: u16) -> Option<(usize, usize)> {
    match kind {
        kind::CNAME | kind::NS | kind::PTR | kind::DNAME => Some((0, 1)),
        kind::MX => Some((2, 1)),
        kind::SRV => Some((6, 1)),
        kind::SOA => Some((0, 2)),
        _ => None,
    }
}

/// The records of a name and of the names that its aliases lead to. Records of other names are left out: the reply of
/// a resolver is no authority for names that were not asked for.
fn on_the_way(name: &[u8], records: Vec<Record>) -> Vec<Record> {
    let mut names: Vec<Box<[u8]>> = vec![name.into()];
    let mut kept = Vec::new();
    for record in records.into_iter() {
        if names.contains(&record.name) {
            if record.kind == kind::CNAME {
                names.push(record.data.clone());
            }
            kept.push(record);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, kind: u16, data: &[u8]) -> Record {
        Record { name: Name::from_text(name).unwrap().wire().into(), kind, ttl: 1, data: data.into() }
    }

    #[test]
    fn records_of_names_that_no_alias_leads_to_are_left_out() {
        let alias = Name::from_text("b.example").unwrap();
        let records = vec![
            record("bank.example", kind::A, &[192, 0, 2, 66]),
            record("a.example", kind::CNAME, alias.wire()),
            record("b.example", kind::A, &[192, 0, 2, 1]),
        ];
        let asked = Name::from_text("a.example").unwrap();
        assert_eq!(on_the_way(asked.wire(), records.clone()), records[1..]);
    }
}
