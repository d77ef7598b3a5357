//! Addresses as labels, with dashes: `10-244-0-5`, `2001-db8--1`.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Writes the label of an address without its length byte, and returns its length. A label must not end in a dash, so
/// a zero is added to one that would. `buffer` has at least 40 bytes.
pub(crate) fn write(address: IpAddr, buffer: &mut [u8]) -> usize {
    let mut rest = &mut buffer[..];
    let room = rest.len();
    // The buffer is long enough for the longest address.
    let length = write!(rest, "{address}").map_or(0, |()| room - rest.len());
    let label = &mut buffer[..length];
    label.iter_mut().filter(|byte| matches!(**byte, b'.' | b':')).for_each(|byte| *byte = b'-');
    match label.last() {
        Some(b'-') => {
            buffer[length] = b'0';
            length + 1
        }
        _ => length,
    }
}

/// The address that a label spells: IPv4 if it has four numbers, otherwise IPv6.
pub(crate) fn read(label: &[u8]) -> Option<IpAddr> {
    let mut text = [0; 63];
    let text = text.get_mut(..label.len())?;
    text.copy_from_slice(label);
    let dashes = label.iter().filter(|byte| **byte == b'-').count();
    let v4 = dashes == 3 && !label.windows(2).any(|pair| pair == b"--");
    let separator = if v4 { b'.' } else { b':' };
    text.iter_mut().filter(|byte| **byte == b'-').for_each(|byte| *byte = separator);
    let text = std::str::from_utf8(text).ok()?;
    if v4 {
        text.parse().map(|address: Ipv4Addr| address.into()).ok()
    } else {
        text.parse().map(|address: Ipv6Addr| address.into()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_become_labels_and_labels_addresses() {
        for (address, label) in [
            ("10.244.0.5", "10-244-0-5"),
            ("2001:db8::1", "2001-db8--1"),
            ("fd00::", "fd00--0"),
            ("1:2:3:4:5:6:7:8", "1-2-3-4-5-6-7-8"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let mut buffer = [0; 64];
            let length = write(address, &mut buffer);
            assert_eq!(&buffer[..length], label.as_bytes());
            assert_eq!(read(label.as_bytes()), Some(address));
        }
        for label in ["10-244-0", "10-244-0-256", "web-0", "a-b-c-d", "-"] {
            assert!(read(label.as_bytes()).is_none(), "{label}");
        }
    }
}
