//! The keys of server blocks: `.:53`, `cluster.local`, `tls://example.org`, `10.0.0.0/24`.

use super::scheme::{Scheme, Served};
use crate::corefile::{ZoneError, zones};

/// Why a text is no key of a server block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyError {
    /// The scheme is not known.
    #[error("queries cannot come in by {0}://; there are dns://, tls:// and https://")]
    Scheme(String),
    /// The text behind the colon is no port.
    #[error("{0:?} is no port; use a number from 1 to 65535")]
    Port(String),
    /// The text before the colon is no zone.
    #[error(transparent)]
    Zone(#[from] ZoneError),
}

/// The zones that a key means, with scheme and port.
pub(super) fn served(key: &str) -> Result<Vec<Served>, KeyError> {
    let (scheme, rest) = match key.split_once("://") {
        Some((scheme, rest)) => (scheme_of(scheme)?, rest),
        None => (Scheme::Dns, key),
    };
    let (zone, port) = match rest.rsplit_once(':') {
        Some((zone, port)) if !port.contains(['/', '.']) && !zone.contains(':') => {
            let number = port.parse().ok().filter(|port| *port != 0);
            (zone, number.ok_or_else(|| KeyError::Port(port.to_owned()))?)
        }
        _ => (rest, scheme.port()),
    };
    let zone = if zone.is_empty() { "." } else { zone };
    Ok(zones(zone)?.into_iter().map(|zone| Served { scheme, zone, port }).collect())
}

fn scheme_of(name: &str) -> Result<Scheme, KeyError> {
    let found = Scheme::ALL.into_iter().find(|scheme| scheme.name() == name);
    found.ok_or_else(|| KeyError::Scheme(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str) -> Vec<String> {
        let served = served(key).unwrap();
        served
            .iter()
            .map(|served| format!("{}://{}:{}", served.scheme.name(), served.zone, served.port))
            .collect()
    }

    #[test]
    fn a_key_is_a_zone_with_a_scheme_and_a_port() {
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
