//! DNS messages as bytes (RFC 1035, RFC 6891): reading queries and replies, writing replies, names and records.

mod copy;
mod framing;
mod message;
mod name;
mod query;
mod question;
mod reply;

pub(crate) use copy::Copier;
pub(crate) use framing::{put_message, read_message};
pub(crate) use message::{Message, Record, names_inside};
pub(crate) use name::Name;
pub(crate) use query::{Edns, Query, Reject};
pub(crate) use question::{QueryFlags, Question};
pub(crate) use reply::{LAST_POINTED, Reply, Section, pointer};

/// The length of a message header, in bytes.
pub(crate) const HEADER: usize = 12;
/// The longest name in wire form, in bytes, with the root (RFC 1035, 2.3.4).
pub(crate) const LONGEST_NAME: usize = 255;
/// The largest message over UDP without EDNS, in bytes (RFC 1035, 4.2.1).
pub(crate) const PLAIN_UDP: usize = 512;
/// The largest message that this server sends over UDP, in bytes: it passes every network without being fragmented
/// (DNS flag day 2020).
pub(crate) const LARGEST_UDP: usize = 1232;
/// The largest message over TCP, in bytes (RFC 1035, 4.2.2).
pub(crate) const LARGEST_TCP: usize = 65_535;
/// The class of the Internet.
pub(crate) const CLASS_IN: u16 = 1;
/// Any class, in questions.
pub(crate) const CLASS_ANY: u16 = 255;

/// A message, or a part of one, that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Bits of the second word of the header.
pub(crate) mod flag {
    /// A response.
    pub(crate) const QR: u16 = 1 << 15;
    /// The kind of query; 0 is an ordinary one.
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
    pub(crate) const MX: u16 = 15;
    pub(crate) const TXT: u16 = 16;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const SRV: u16 = 33;
    pub(crate) const NAPTR: u16 = 35;
    pub(crate) const DNAME: u16 = 39;
    pub(crate) const OPT: u16 = 41;
    pub(crate) const DS: u16 = 43;
    pub(crate) const DNSKEY: u16 = 48;
    pub(crate) const HTTPS: u16 = 65;
    pub(crate) const IXFR: u16 = 251;
    pub(crate) const AXFR: u16 = 252;
    pub(crate) const ANY: u16 = 255;

    /// The names of types that Corefiles write and that metrics tell apart.
    const NAMES: &[(&str, u16)] = &[
        ("A", A),
        ("NS", NS),
        ("CNAME", CNAME),
        ("SOA", SOA),
        ("PTR", PTR),
        ("HINFO", HINFO),
        ("MX", MX),
        ("TXT", TXT),
        ("AAAA", AAAA),
        ("SRV", SRV),
        ("NAPTR", NAPTR),
        ("DNAME", DNAME),
        ("DS", DS),
        ("DNSKEY", DNSKEY),
        ("SVCB", 64),
        ("HTTPS", HTTPS),
        ("IXFR", IXFR),
        ("AXFR", AXFR),
        ("ANY", ANY),
        ("CAA", 257),
    ];

    /// The type with a name, in any case; `TYPE65` means 65 (RFC 3597).
    pub(crate) fn by_name(name: &str) -> Option<u16> {
        let known = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        known.map(|(_, kind)| *kind).or_else(|| name.strip_prefix("TYPE")?.parse().ok())
    }

    /// The name of a type; `None` if it is not in the list.
    pub(crate) fn name(kind: u16) -> Option<&'static str> {
        NAMES.iter().find(|(_, known)| *known == kind).map(|(name, _)| *name)
    }
}

/// Classes of records and questions.
pub(crate) mod class {
    const NAMES: [(&str, u16); 4] =
        [("IN", super::CLASS_IN), ("CH", 3), ("HS", 4), ("ANY", super::CLASS_ANY)];

    /// The name of a class; `None` if it is not in the list.
    pub(crate) fn name(class: u16) -> Option<&'static str> {
        NAMES.iter().find(|(_, known)| *known == class).map(|(name, _)| *name)
    }

    /// The class with a name, in any case.
    pub(crate) fn by_name(name: &str) -> Option<u16> {
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, class)| *class)
    }
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

    const NAMES: [(&str, u16); 8] = [
        ("NOERROR", NOERROR),
        ("FORMERR", FORMERR),
        ("SERVFAIL", SERVFAIL),
        ("NXDOMAIN", NXDOMAIN),
        ("NOTIMP", NOTIMP),
        ("REFUSED", REFUSED),
        ("NOTAUTH", 9),
        ("BADVERS", BADVERS),
    ];

    /// The response code with a name, in any case.
    pub(crate) fn by_name(name: &str) -> Option<u16> {
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, code)| *code)
    }

    /// The name of a response code; `None` if it is not in the list.
    pub(crate) fn name(code: u16) -> Option<&'static str> {
        NAMES.iter().find(|(_, known)| *known == code).map(|(name, _)| *name)
    }
}

/// The big-endian number of two bytes at an offset.
pub(crate) fn word(packet: &[u8], at: usize) -> Result<u16, Malformed> {
    let bytes = packet.get(at..at + 2).ok_or(Malformed)?;
    Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
}
