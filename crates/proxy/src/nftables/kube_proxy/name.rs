//! Names of chains and sets.

use std::net::SocketAddr;

use ring::digest::{SHA256, digest};
use service::PortView;

/// The alphabet of base32 (RFC 4648).
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// The longest name without its prefix; a longer one is cut and ends in dots.
const LONGEST: usize = 240;

/// What the names of a Service port's chains have in common: a hash, then the words it is of.
pub(super) fn of_port(view: &PortView<'_>) -> String {
    hashed(&words(view))
}

/// The same for one of its endpoints.
pub(super) fn of_endpoint(view: &PortView<'_>, endpoint: SocketAddr) -> String {
    // A colon cannot be in a name.
    let address = endpoint.ip().to_string().replace(':', ".");
    hashed(&format!("{}__{address}/{}", words(view), endpoint.port()))
}

fn words(view: &PortView<'_>) -> String {
    let name = view.service.name();
    format!("{}/{}/{}/{}", name.namespace, name.name, view.port.protocol, view.port.name)
}

fn hashed(words: &str) -> String {
    // Five bytes are eight characters of base32.
    let number = digest(&SHA256, words.as_bytes())
        .as_ref()
        .iter()
        .take(5)
        .fold(0, |n, byte| n << 8 | u64::from(*byte));
    let character = |index: u32| char::from(ALPHABET[(number >> (5 * (7 - index)) & 31) as usize]);
    let name = format!("{}-{words}", (0..8).map(character).collect::<String>());
    match name.len() > LONGEST {
        true => format!("{}...", &name[..name.floor_char_boundary(LONGEST - 3)]),
        false => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_begin_with_the_hash_of_their_words() {
        assert_eq!(hashed("ns1/svc1/tcp/p80"), "ULMVA6XW-ns1/svc1/tcp/p80");
        assert_eq!(hashed("ns5/svc5/tcp/p80__10.180.0.3/80"), "GTK6MW7G-ns5/svc5/tcp/p80__10.180.0.3/80");
        let long = hashed(&"x".repeat(300));
        assert!(long.len() == LONGEST && long.ends_with("x..."), "{long}");
    }
}
