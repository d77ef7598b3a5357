//! Rules of IP addresses and CIDRs.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use super::report::Report;

/// What upstream says of a text that is no IP address.
const NOT_AN_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
/// What upstream says of a text that is no CIDR.
const NOT_A_CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// An IP address; the address when it is one. Leading zeros and IPv4-mapped IPv6 addresses are refused
/// (KEP-4858).
pub(super) fn ip(path: &str, value: &Value, report: &mut Report) -> Option<IpAddr> {
    let text = value.as_str().unwrap_or_default();
    let parsed: Option<IpAddr> = text.parse().ok();
    match parsed {
        Some(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => {
            report.invalid(path, value, "must not be an IPv4-mapped IPv6 address");
            None
        }
        Some(address) => Some(address),
        None if without_leading_zeros(text).is_some() => {
            report.invalid(path, value, "must not have leading 0s");
            None
        }
        None => {
            report.invalid(path, value, NOT_AN_IP);
            None
        }
    }
}

/// The IPv4 address that older versions read from numbers with leading zeros.
fn without_leading_zeros(text: &str) -> Option<Ipv4Addr> {
    let parts = text.split('.').map(|part| match part.trim_start_matches('0') {
        "" if !part.is_empty() => "0",
        rest => rest,
    });
    parts.collect::<Vec<_>>().join(".").parse().ok()
}

/// A network in CIDR form, without bits set beyond its length.
pub(super) fn cidr(path: &str, value: &Value, report: &mut Report) {
    let text = value.as_str().unwrap_or_default().trim();
    match parse_cidr(text) {
        None => report.invalid(path, value, NOT_A_CIDR),
        Some((address, length)) if has_host_bits(address, length) => {
            report.invalid(path, value, "must not have bits set beyond the prefix length");
        }
        Some(_) => {}
    }
}

fn parse_cidr(text: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let limit = if address.is_ipv4() { 32 } else { 128 };
    let plain = length == "0" || (!length.starts_with('0') && length.bytes().all(|one| one.is_ascii_digit()));
    let length = plain.then(|| length.parse().ok()).flatten().filter(|length| *length <= limit)?;
    Some((address, length))
}

fn has_host_bits(address: IpAddr, length: u32) -> bool {
    match address {
        IpAddr::V4(v4) => u32::from(v4).checked_shl(length).is_some_and(|rest| rest != 0),
        IpAddr::V6(v6) => u128::from(v6).checked_shl(length).is_some_and(|rest| rest != 0),
    }
}

/// An address that traffic may be sent to: not one that means this host or this link.
pub(super) fn not_special(path: &str, value: &Value, address: IpAddr, report: &mut Report) {
    let (loopback, link_local, link_multicast) = match address {
        IpAddr::V4(v4) => (v4.is_loopback(), v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_loopback(), v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    let table = [
        (address.is_unspecified(), format!("may not be unspecified ({address})")),
        (loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()),
        (link_multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned()),
    ];
    for (holds, detail) in table {
        if holds {
            report.invalid(path, value, &detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn errors(check: impl Fn(&Value, &mut Report), text: &str) -> usize {
        let mut report = Report::default();
        check(&json!(text), &mut report);
        report.into_errors().len()
    }

    #[test]
    fn networks_have_no_host_bits() {
        let check = |value: &Value, report: &mut Report| cidr("p", value, report);
        for fine in ["10.0.0.0/8", "0.0.0.0/0", "192.0.2.1/32", "2001:db8::/64", "::/0", " 10.0.0.0/8 "] {
            assert_eq!(errors(check, fine), 0, "{fine}");
        }
        for wrong in ["10.0.0.1/8", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/08", "2001:db8::1/64", "x/1", ""] {
            assert_eq!(errors(check, wrong), 1, "{wrong}");
        }
    }

    #[test]
    fn special_addresses_are_refused() {
        let check = |value: &Value, report: &mut Report| {
            if let Some(address) = ip("p", value, report) {
                not_special("p", value, address, report);
            }
        };
        for fine in ["10.9.8.7", "2001:db8::ffff", "239.0.0.1"] {
            assert_eq!(errors(check, fine), 0, "{fine}");
        }
        let wrong = [
            "0.0.0.0",
            "::",
            "127.0.0.1",
            "::1",
            "169.254.1.1",
            "fe80::1",
            "224.0.0.1",
            "ff02::1",
            "10.0.0.01",
            "::ffff:1.2.3.4",
            "x",
        ];
        for wrong in wrong {
            assert_eq!(errors(check, wrong), 1, "{wrong}");
        }
    }
}
