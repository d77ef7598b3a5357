//! Values of sets, maps and comparisons.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::datatype::{DataType, KeyType};

/// Names of protocols, as the system's `/etc/protocols` has them.
const PROTOCOLS: [(u8, &str); 11] = [
    (1, "icmp"),
    (2, "igmp"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (47, "gre"),
    (50, "esp"),
    (51, "ah"),
    (58, "ipv6-icmp"),
    (132, "sctp"),
    (136, "udplite"),
];

/// A value of one type; `None` if the bytes do not fit the type.
pub(super) fn field(kind: DataType, bytes: &[u8]) -> Option<String> {
    Some(match kind {
        DataType::Ipv4Addr => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string(),
        DataType::Ipv6Addr => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string(),
        DataType::InetProto => protocol(*bytes.first()?),
        DataType::InetService => u16::from_be_bytes(bytes.try_into().ok()?).to_string(),
        DataType::Mark => format!("{:#010x}", u32::from_ne_bytes(bytes.try_into().ok()?)),
        DataType::Integer => u32::from_ne_bytes(bytes.try_into().ok()?).to_string(),
        DataType::InterfaceName => interface(bytes),
        DataType::Other { .. } => format!("0x{}", hex(bytes)),
    })
}

/// A value of a concatenation.
pub(super) fn concatenation(kind: &KeyType, bytes: &[u8]) -> String {
    let mut rest = bytes;
    let mut texts = Vec::new();
    for part in kind.0.iter() {
        let size = part.size() as usize;
        let Some((value, _)) = rest.split_at_checked(size) else { break };
        texts.push(field(*part, value).unwrap_or_else(|| hex(value)));
        rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
    }
    texts.join(" . ")
}

pub(super) fn protocol(number: u8) -> String {
    let known = PROTOCOLS.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
}

/// The name of an interface, or the start of names if no NUL ends it.
pub(super) fn interface(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    let name = String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]);
    format!("\"{name}{}\"", if end.is_none() { "*" } else { "" })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Units of time and their milliseconds.
const UNITS: [(&str, u128); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A time, without the units that are zero.
pub(super) fn time(time: Duration) -> String {
    let mut rest = time.as_millis();
    let mut text = String::new();
    for (unit, length) in UNITS {
        if rest >= length {
            text.push_str(&format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// What a run of values from `first` to `last` is called: a value, a prefix or a range.
pub(super) fn range(kind: DataType, first: &[u8], last: &[u8]) -> String {
    let text = |bytes: &[u8]| field(kind, bytes).unwrap_or_else(|| hex(bytes));
    if first == last {
        return text(first);
    }
    let bits = 8 * first.len() as u32;
    let (low, high) = (number(first), number(last));
    let free = (low ^ high).checked_ilog2().map_or(0, |highest| highest + 1);
    let mask = u128::MAX.checked_shr(128 - free).unwrap_or(0);
    match low & mask == 0 && high & mask == mask && bits >= free {
        true => format!("{}/{}", text(first), bits - free),
        false => format!("{}-{}", text(first), text(last)),
    }
}

/// Bytes in network order as a number.
pub(super) fn number(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// A number as so many bytes in network order.
pub(super) fn bytes(number: u128, length: usize) -> Vec<u8> {
    number.to_be_bytes()[16 - length.min(16)..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_name_only_units_that_count() {
        let cases = [(10_800_000, "3h"), (89_996, "1m29s996ms"), (3_660_000, "1h1m"), (0, "0s")];
        for (milliseconds, text) in cases {
            assert_eq!(time(Duration::from_millis(milliseconds)), text);
        }
    }

    #[test]
    fn ranges_are_prefixes_where_they_can_be() {
        let text = |first: [u8; 4], last: [u8; 4]| range(DataType::Ipv4Addr, &first, &last);
        assert_eq!(text([10, 0, 0, 0], [10, 255, 255, 255]), "10.0.0.0/8");
        assert_eq!(text([240, 0, 0, 0], [255; 4]), "240.0.0.0/4");
        assert_eq!(text([0; 4], [255; 4]), "0.0.0.0/0");
        assert_eq!(text([10, 0, 0, 3], [10, 0, 0, 9]), "10.0.0.3-10.0.0.9");
        assert_eq!(text([10, 0, 0, 3], [10, 0, 0, 3]), "10.0.0.3");
    }
}
