//! The numbers of DNS and their words (IANA, "Domain Name System (DNS) Parameters").

/// Types of records and questions.
const TYPES: [(u16, &str); 20] = [
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (10, "NULL"),
    (12, "PTR"),
    (13, "HINFO"),
    (15, "MX"),
    (16, "TXT"),
    (28, "AAAA"),
    (33, "SRV"),
    (35, "NAPTR"),
    (43, "DS"),
    (48, "DNSKEY"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (251, "IXFR"),
    (252, "AXFR"),
    (255, "ANY"),
    (257, "CAA"),
];
/// Classes.
const CLASSES: [(u16, &str); 5] = [(1, "IN"), (3, "CH"), (4, "HS"), (254, "NONE"), (255, "ANY")];
/// Response codes, with those that need EDNS.
const RCODES: [(u16, &str); 10] = [
    (0, "NOERROR"),
    (1, "FORMERR"),
    (2, "SERVFAIL"),
    (3, "NXDOMAIN"),
    (4, "NOTIMP"),
    (5, "REFUSED"),
    (8, "NXRRSET"),
    (9, "NOTAUTH"),
    (16, "BADVERS"),
    (23, "BADCOOKIE"),
];

/// The type of an address, IPv4.
pub const A: u16 = 1;
/// A server of the zone.
pub const NS: u16 = 2;
/// Another name.
pub const CNAME: u16 = 5;
/// The start of a zone.
pub const SOA: u16 = 6;
/// The name of an address.
pub const PTR: u16 = 12;
/// What ANY is answered with (RFC 8482).
pub const HINFO: u16 = 13;
/// Where mail goes.
pub const MX: u16 = 15;
/// Text.
pub const TXT: u16 = 16;
/// The type of an address, IPv6.
pub const AAAA: u16 = 28;
/// Where a service is.
pub const SRV: u16 = 33;
/// The record of EDNS (RFC 6891).
pub const OPT: u16 = 41;
/// A signed delegation.
pub const DS: u16 = 43;
/// How an HTTP service is reached (RFC 9460).
pub const HTTPS: u16 = 65;
/// What changed in a zone (RFC 1995).
pub const IXFR: u16 = 251;
/// A whole zone (RFC 5936).
pub const AXFR: u16 = 252;
/// All types (RFC 8482).
pub const ANY: u16 = 255;
/// The class of the Internet.
pub const IN: u16 = 1;

/// The word of a type; one without a word is written as `TYPE123` (RFC 3597).
pub fn type_word(code: u16) -> String {
    word(&TYPES, "TYPE", code)
}

/// The type of a word.
pub fn type_code(word: &str) -> Option<u16> {
    code(&TYPES, "TYPE", word)
}

/// The word of a class.
pub fn class_word(code: u16) -> String {
    word(&CLASSES, "CLASS", code)
}

/// The class of a word.
pub fn class_code(word: &str) -> Option<u16> {
    code(&CLASSES, "CLASS", word)
}

/// The word of a response code.
pub fn rcode_word(code: u16) -> String {
    word(&RCODES, "RCODE", code)
}

/// The response code of a word.
pub fn rcode_code(word: &str) -> Option<u16> {
    code(&RCODES, "RCODE", word)
}

fn word(table: &[(u16, &str)], prefix: &str, code: u16) -> String {
    let found = table.iter().find(|(other, _)| *other == code);
    found.map_or_else(|| format!("{prefix}{code}"), |(_, word)| (*word).to_owned())
}

fn code(table: &[(u16, &str)], prefix: &str, word: &str) -> Option<u16> {
    let found = table.iter().find(|(_, other)| *other == word).map(|(code, _)| *code);
    found.or_else(|| word.strip_prefix(prefix)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_without_a_word_has_its_own() {
        assert_eq!((type_word(65), type_word(999)), ("HTTPS".to_owned(), "TYPE999".to_owned()));
        assert_eq!((type_code("HTTPS"), type_code("TYPE999"), type_code("no")), (Some(65), Some(999), None));
        assert_eq!(rcode_code(&rcode_word(23)), Some(23));
    }
}
