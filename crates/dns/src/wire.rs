//! DNS messages as bytes (RFC 1035, RFC 6891).

mod message;
mod name;
mod query;
mod reply;

pub(crate) use message::{Message, Record};
pub(crate) use name::Name;
pub(crate) use query::{Edns, Query, Reject};
pub(crate) use reply::{Reply, Section, pointer};

/// Bytes of a message header.
pub(crate) const HEADER: usize = 12;
/// The largest message over UDP without EDNS (RFC 1035, 4.2.1).
pub(crate) const PLAIN_UDP: usize = 512;
/// The largest message over UDP at all: what passes every network unfragmented (DNS flag day 2020).
pub(crate) const LARGEST_UDP: usize = 1232;
/// The largest message over TCP (RFC 1035, 4.2.2).
pub(crate) const LARGEST_TCP: usize = 65_535;
/// The class of the Internet.
pub(crate) const CLASS_IN: u16 = 1;

/// A part of a message that cannot be what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Bits of the second word of the header.
pub(crate) mod flag {
    /// A response.
    pub(crate) const QR: u16 = 1 << 15;
    /// The kind of query.
    pub(crate) const OPCODE: u16 = 0xF << 11;
    /// An authoritative answer.
    pub(crate) const AA: u16 = 1 << 10;
    /// The answer did not fit.
    pub(crate) const TC: u16 = 1 << 9;
    /// Recursion is desired.
    pub(crate) const RD: u16 = 1 << 8;
    /// Recursion is available.
    pub(crate) const RA: u16 = 1 << 7;
    /// The data is authentic (RFC 4035).
    pub(crate) const AD: u16 = 1 << 5;
    /// Checking is disabled (RFC 4035).
    pub(crate) const CD: u16 = 1 << 4;
    /// The response code.
    pub(crate) const RCODE: u16 = 0xF;
}

/// Types of records and questions.
pub(crate) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const CNAME: u16 = 5;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const HINFO: u16 = 13;
    pub(crate) const TXT: u16 = 16;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const SRV: u16 = 33;
    pub(crate) const OPT: u16 = 41;
    pub(crate) const IXFR: u16 = 251;
    pub(crate) const AXFR: u16 = 252;
    pub(crate) const ANY: u16 = 255;
}

/// Response codes; those above 15 need EDNS.
pub(crate) mod rcode {
    pub(crate) const NOERROR: u16 = 0;
    pub(crate) const FORMERR: u16 = 1;
    pub(crate) const SERVFAIL: u16 = 2;
    pub(crate) const NXDOMAIN: u16 = 3;
    pub(crate) const NOTIMP: u16 = 4;
    pub(crate) const REFUSED: u16 = 5;
    pub(crate) const BADVERS: u16 = 16;
}

/// The big-endian number at a place.
fn word(packet: &[u8], at: usize) -> Result<u16, Malformed> {
    let bytes = packet.get(at..at + 2).ok_or(Malformed)?;
    Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
}
