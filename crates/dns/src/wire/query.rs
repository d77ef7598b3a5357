//! Reading queries of clients.

use super::{HEADER, LARGEST_UDP, Malformed, Name, PLAIN_UDP, flag, kind, rcode, word};

/// The length in bytes of what is between the name and the data of a record.
const RECORD: usize = 10;
/// The bit of the OPT record's TTL that asks for DNSSEC records (RFC 3225).
const DNSSEC_OK: u16 = 1 << 15;

/// A query that can be answered.
#[derive(Debug)]
pub(crate) struct Query<'a> {
    /// The id that the reply repeats.
    pub(crate) id: u16,
    /// The flags of the header.
    pub(crate) flags: u16,
    /// The question as it was sent: name, type and class.
    pub(crate) question: &'a [u8],
    /// The name asked for.
    pub(crate) name: Name,
    /// The type asked for.
    pub(crate) kind: u16,
    /// The class asked for.
    pub(crate) class: u16,
    /// What the client's OPT record says.
    pub(crate) edns: Option<Edns>,
}

/// What an OPT record says (RFC 6891).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edns {
    /// The largest message over UDP that the sender accepts, in bytes.
    pub(crate) size: u16,
    /// The version of EDNS.
    pub(crate) version: u8,
    /// Whether DNSSEC records are wanted.
    pub(crate) dnssec_ok: bool,
}

impl Edns {
    /// The values in messages of this server.
    pub(crate) fn ours(dnssec_ok: bool) -> Self {
        Self { size: LARGEST_UDP as u16, version: 0, dnssec_ok }
    }

    /// The OPT record in wire form, with the upper bits of a response code.
    pub(crate) fn record(self, rcode: u16) -> [u8; 11] {
        let [high, low] = self.size.to_be_bytes();
        let dnssec_ok = if self.dnssec_ok { DNSSEC_OK } else { 0 }.to_be_bytes()[0];
        let extended = (rcode >> 4) as u8;
        [0, 0, kind::OPT as u8, high, low, extended, self.version, dnssec_ok, 0, 0, 0]
    }
}

/// What to do with a packet that is not a query that can be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reject {
    /// Nothing: it is too short to reply to, or it is itself a reply. Two servers that reply to replies would never
    /// stop.
    Silence,
    /// Reply with a header only, with this response code.
    Header {
        /// The id that the reply repeats.
        id: u16,
        /// The flags of the header.
        flags: u16,
        /// The response code.
        rcode: u16,
    },
}

impl<'a> Query<'a> {
    /// Decodes a packet of a client. It must have exactly one question, and as many records as its header counts.
    #[inline]
    pub(crate) fn decode(packet: &'a [u8]) -> Result<Self, Reject> {
        let (Ok(id), Ok(flags)) = (word(packet, 0), word(packet, 2)) else { return Err(Reject::Silence) };
        if packet.len() < HEADER || flags & flag::QR != 0 {
            return Err(Reject::Silence);
        }
        if flags & flag::OPCODE != 0 {
            return Err(Reject::Header { id, flags, rcode: rcode::NOTIMP });
        }
        let (question, name, kind, class, edns) = (&[][..], Name::root(), 0, 0, None);
        let mut query = Self { id, flags, question, name, kind, class, edns };
        match query.decode_body(packet) {
            Ok(()) => Ok(query),
            Err(Malformed) => Err(Reject::Header { id, flags, rcode: rcode::FORMERR }),
        }
    }

    #[inline]
    fn decode_body(&mut self, packet: &'a [u8]) -> Result<(), Malformed> {
        let count = |section: usize| word(packet, 4 + 2 * section);
        if count(0)? != 1 {
            return Err(Malformed);
        }
        let end = self.name.fill(packet, HEADER)?;
        (self.kind, self.class) = (word(packet, end)?, word(packet, end + 2)?);
        self.question = &packet[HEADER..end + 4];
        let mut at = end + 4;
        for section in 1..=3 {
            for _ in 0..count(section)? {
                let record = Record::read(packet, at)?;
                at = record.end;
                if record.kind == kind::OPT {
                    // There may be one OPT record; its owner is the root, and it is in the additional section (RFC
                    // 6891, 6.1.1).
                    let misplaced = section != 3 || !record.of_root || self.edns.is_some();
                    self.edns = Some(if misplaced { return Err(Malformed) } else { record.edns });
                }
            }
        }
        if at == packet.len() { Ok(()) } else { Err(Malformed) }
    }

    /// The packet of the same query with another question.
    pub(crate) fn with_question(&self, name: &Name, kind: u16, class: u16) -> Vec<u8> {
        let edns = self.edns.map(|edns| edns.record(0));
        packet(self.id, self.flags, name.wire(), (kind, class), edns.as_ref())
    }

    /// The packet of a query for a name in wire form, with recursion desired.
    pub(crate) fn packet(name: &[u8], kind: u16, class: u16) -> Vec<u8> {
        packet(0, flag::RD, name, (kind, class), None)
    }

    /// The size of the largest reply over UDP that the client accepts, in bytes, but at most `most`.
    pub(crate) fn udp_limit(&self, most: usize) -> usize {
        self.edns.map_or(PLAIN_UDP, |edns| usize::from(edns.size).clamp(PLAIN_UDP, most.max(PLAIN_UDP)))
    }
}

fn packet(id: u16, flags: u16, name: &[u8], (kind, class): (u16, u16), edns: Option<&[u8; 11]>) -> Vec<u8> {
    let mut packet = Vec::with_capacity(HEADER + name.len() + 16);
    for word in [id, flags, 1, 0, 0, u16::from(edns.is_some())] {
        packet.extend_from_slice(&word.to_be_bytes());
    }
    packet.extend_from_slice(name);
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&class.to_be_bytes());
    packet.extend_from_slice(edns.map_or(&[], |record| &record[..]));
    packet
}

/// The parts of a record that matter in a query.
struct Record {
    of_root: bool,
    kind: u16,
    edns: Edns,
    end: usize,
}

impl Record {
    fn read(packet: &[u8], at: usize) -> Result<Self, Malformed> {
        // Most owners are the root, which needs no decoding.
        let head = if packet.get(at) == Some(&0) { at + 1 } else { Name::read(packet, at)?.1 };
        let flags = word(packet, head + 6)?;
        let end = head + RECORD + usize::from(word(packet, head + 8)?);
        if end > packet.len() {
            return Err(Malformed);
        }
        Ok(Self {
            of_root: packet[at] == 0,
            kind: word(packet, head)?,
            edns: Edns {
                size: word(packet, head + 2)?,
                version: packet[head + 5],
                dnssec_ok: flags & DNSSEC_OK != 0,
            },
            end,
        })
    }
}
