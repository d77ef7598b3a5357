//! Reading records in the format of zone files (RFC 1035, 5.1).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::wire::{Name, Record, kind};

/// The TTL of records that have none, in seconds, as in zone files of CoreDNS.
const TTL: u32 = 3600;

/// Why a line is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LineError {
    /// It has no words.
    #[error("it is empty")]
    Empty,
    /// Quotes are opened and not closed.
    #[error("a quotation is not closed")]
    Open,
    /// It ends before the type.
    #[error("it has no type")]
    NoType,
    /// The type is not known.
    #[error("the type {0} is not known")]
    Type(String),
    /// The data does not have the format of the type.
    #[error("{0:?} is no data of type {1}")]
    Data(Vec<String>, String),
    /// The owner is no domain name.
    #[error("{0:?} is no name")]
    Owner(String),
}

/// Reads a record: `name [ttl] [class] type data...`.
///
/// # Errors
/// [`LineError`] when the line is no record.
pub(super) fn parse(line: &str) -> Result<Record, LineError> {
    let words = words(line)?;
    let [name, rest @ ..] = &words[..] else { return Err(LineError::Empty) };
    let (mut ttl, mut rest) = (TTL, rest);
    while let [word, after @ ..] = rest {
        if let Ok(number) = word.parse() {
            ttl = number;
        } else if !word.eq_ignore_ascii_case("IN") {
            break;
        }
        rest = after;
    }
    let [kind, data @ ..] = rest else { return Err(LineError::NoType) };
    let code = kind::by_name(kind).ok_or_else(|| LineError::Type(kind.clone()))?;
    let data = self::data(code, data).ok_or_else(|| LineError::Data(data.to_vec(), kind.clone()))?;
    Ok(Record {
        name: wire(name).ok_or_else(|| LineError::Owner(name.clone()))?.into(),
        kind: code,
        ttl,
        data: data.into(),
    })
}

/// The words of a line. Words in quotes may contain white space.
fn words(line: &str) -> Result<Vec<String>, LineError> {
    let (mut words, mut rest) = (Vec::new(), line.trim_start());
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or(LineError::Open)?,
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    Ok(words)
}

fn wire(text: &str) -> Option<Vec<u8>> {
    Name::from_text(text).ok().map(|name| name.wire().to_vec())
}

fn data(kind: u16, words: &[String]) -> Option<Vec<u8>> {
    let number = |word: &String| word.parse::<u16>().ok().map(u16::to_be_bytes);
    let long = |word: &String| word.parse::<u32>().ok().map(u32::to_be_bytes);
    match (kind, words) {
        (kind::A, [address]) => Some(address.parse::<Ipv4Addr>().ok()?.octets().to_vec()),
        (kind::AAAA, [address]) => Some(address.parse::<Ipv6Addr>().ok()?.octets().to_vec()),
        (kind::CNAME | kind::NS | kind::PTR | kind::DNAME, [name]) => wire(name),
        (kind::MX, [preference, name]) => Some([&number(preference)?[..], &wire(name)?].concat()),
        (kind::SRV, [priority, weight, port, name]) => {
            Some([&number(priority)?[..], &number(weight)?, &number(port)?, &wire(name)?].concat())
        }
        (kind::SOA, [server, mailbox, numbers @ ..]) if numbers.len() == 5 => {
            let mut data = [wire(server)?, wire(mailbox)?].concat();
            for word in numbers {
                data.extend_from_slice(&long(word)?);
            }
            Some(data)
        }
        (kind::TXT | kind::HINFO, [_, ..]) => {
            let mut data = Vec::new();
            for word in words {
                data.push(u8::try_from(word.len()).ok()?);
                data.extend_from_slice(word.as_bytes());
            }
            Some(data)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_zone_files_are_records() {
        let record = parse("a.example. 60 IN A 192.0.2.1").unwrap();
        assert_eq!((record.kind, record.ttl, &record.data[..]), (kind::A, 60, &[192, 0, 2, 1][..]));
        assert_eq!(parse("a IN MX 10 b").unwrap().data[..], *b"\0\x0a\x01b\0");
        assert_eq!(parse("a TXT \"x y\" z").unwrap().data[..], *b"\x03x y\x01z");
        assert_eq!(parse("a TXT x").unwrap().ttl, TTL);
        assert_eq!(parse("a SOA b c 1 2 3 4 5").unwrap().data.len(), 6 + 20);
        for bad in ["", "a", "a 60 IN", "a A 1.2.3", "a A", "a FOO x", "a TXT \"x", "a..b A 1.2.3.4"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
