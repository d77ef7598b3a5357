//! Zones as Corefiles write them: domain names, or blocks of addresses for their reverse zones.

use std::net::IpAddr;

use service::Cidr;

use crate::wire::Name;

/// Why a text is no zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ZoneError {
    /// It has a slash and is no block of addresses.
    #[error("{0:?} is no block of addresses")]
    Block(String),
    /// It is no domain name.
    #[error("{0:?} is no domain name; labels of 1 to 63 characters, 255 in all, joined by dots")]
    Name(String),
}

/// The zones that a text means: one for a name; for a block of addresses its reverse zones (RFC 1035, 3.5; RFC 3596,
/// 2.5), several if the block does not end at a label.
///
/// # Errors
/// [`ZoneError`] if the text is neither a domain name nor a block of addresses.
pub(crate) fn zones(text: &str) -> Result<Vec<Name>, ZoneError> {
    if text == "." {
        return Ok(vec![Name::root()]);
    }
    if text.contains('/') {
        return text.parse().map(reverse).map_err(|_| ZoneError::Block(text.to_owned()));
    }
    Name::from_text(text).map(|name| vec![name]).map_err(|_| ZoneError::Name(text.to_owned()))
}

/// The reverse zones that cover a block of addresses exactly.
fn reverse(cidr: Cidr) -> Vec<Name> {
    let (digits, bits, suffix): (Vec<u8>, usize, &str) = match cidr.address() {
        IpAddr::V4(v4) => (v4.octets().to_vec(), 8, "in-addr.arpa"),
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
            (nibbles.collect(), 4, "ip6.arpa")
        }
    };
    let prefix = usize::from(cidr.prefix());
    let whole = prefix.div_ceil(bits);
    let loose = whole * bits - prefix;
    let names = (0..1u16 << loose).filter_map(|step| {
        let mut digits: Vec<u16> = digits[..whole].iter().copied().map(u16::from).collect();
        if let Some(last) = digits.last_mut() {
            *last += step;
        }
        let labels = digits.iter().rev().map(|digit| match bits {
            8 => digit.to_string(),
            _ => format!("{digit:x}"),
        });
        let labels: Vec<_> = labels.chain([suffix.to_owned()]).collect();
        Name::from_text(&labels.join(".")).ok()
    });
    names.collect()
}
