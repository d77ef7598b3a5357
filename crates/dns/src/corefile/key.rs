//! The keys of server blocks: `.:53`, `cluster.local`, `tls://example.org`, `10.0.0.0/24`.

use service::Cidr;

use crate::config::{Listen, Served};
use crate::wire::Name;

/// What a key means.
pub(super) fn served(key: &str) -> Result<Vec<Served>, String> {
    let (listen, rest) = match key.split_once("://") {
        Some((scheme, rest)) => (scheme_of(scheme)?, rest),
        None => (Listen::Dns, key),
    };
    let (zone, port) = match rest.rsplit_once(':') {
        Some((zone, port)) if !port.contains(['/', '.']) && !zone.contains(':') => {
            let number = port.parse().ok().filter(|port| *port != 0);
            (zone, number.ok_or_else(|| format!("{port:?} is no port; use a number from 1 to 65535"))?)
        }
        _ => (rest, listen.port()),
    };
    let zone = if zone.is_empty() { "." } else { zone };
    Ok(zones(zone)?.into_iter().map(|zone| Served { listen, zone, port }).collect())
}

fn scheme_of(scheme: &str) -> Result<Listen, String> {
    let known = [Listen::Dns, Listen::Tls, Listen::Https];
    known.into_iter().find(|listen| listen.scheme() == scheme).ok_or_else(|| {
        format!("queries cannot come in by {scheme}://; there are dns://, tls:// and https://")
    })
}

/// The zones that a text means: a name, or the reverse zones of a block of addresses (RFC 1035, 3.5; RFC 3596,
/// 2.5), several if the block does not end at a label.
pub(super) fn zones(text: &str) -> Result<Vec<Name>, String> {
    if text == "." {
        return Ok(vec![Name::root()]);
    }
    if text.contains('/') {
        let cidr: Cidr = text.parse().map_err(|_| format!("{text:?} is no block of addresses"))?;
        return Ok(reverse(cidr));
    }
    Name::from_text(text).map(|name| vec![name]).map_err(|_| {
        format!("{text:?} is no domain name; labels of 1 to 63 characters, 255 in all, joined by dots")
    })
}

/// The reverse zones that cover a block of addresses exactly.
fn reverse(cidr: Cidr) -> Vec<Name> {
    let octets = |address| match address {
        std::net::IpAddr::V4(v4) => (std::net::Ipv4Addr::octets(&v4).to_vec(), 8, "in-addr.arpa"),
        std::net::IpAddr::V6(v6) => {
            let bytes = v6.octets();
            (bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).collect(), 4, "ip6.arpa")
        }
    };
    let (digits, bits, suffix) = octets(cidr.address());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str) -> Vec<String> {
        let served = served(key).unwrap();
        served
            .iter()
            .map(|served| format!("{}://{}:{}", served.listen.scheme(), served.zone, served.port))
            .collect()
    }

    #[test]
    fn a_key_is_a_zone_with_a_way_in_and_a_port() {
        assert_eq!(read("."), ["dns://.:53"]);
        assert_eq!(read(":1053"), ["dns://.:1053"]);
        assert_eq!(read("dns://Cluster.Local:54"), ["dns://cluster.local.:54"]);
        assert_eq!(read("tls://."), ["tls://.:853"]);
        assert_eq!(read("https://example.org"), ["https://example.org.:443"]);
        for bad in [".:0", ".:70000", "quic://.", "a..b", "10.0.0.0/99"] {
            assert!(served(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_block_of_addresses_is_its_reverse_zones() {
        assert_eq!(read("10.0.0.0/8"), ["dns://10.in-addr.arpa.:53"]);
        assert_eq!(read("10.9.0.0/16:54"), ["dns://9.10.in-addr.arpa.:54"]);
        assert_eq!(
            read("10.0.0.0/14"),
            [0, 1, 2, 3].map(|octet| format!("dns://{octet}.10.in-addr.arpa.:53"))
        );
        assert_eq!(read("2001:db8::/32"), ["dns://8.b.d.0.1.0.0.2.ip6.arpa.:53"]);
    }
}
