//! Files in the format of resolv.conf(5).
//!
//! Lines that cannot be read are skipped, as the C library does: one unknown word must not leave a machine without
//! resolvers.

use std::net::{IpAddr, SocketAddr};

use crate::wire::Name;

/// The most resolvers that are taken, as in CoreDNS; the C library takes three.
const MOST_NAMESERVERS: usize = 15;

/// The resolvers on lines `nameserver ADDRESS`, at port 53, each once.
pub(crate) fn nameservers(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        // The scope of an address like fe80::1%eth0 names an interface, and is no part of the address.
        let bare = address.split('%').next().unwrap_or(address);
        bare.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, 53))
    };
    let mut found: Vec<SocketAddr> = Vec::new();
    for address in text.lines().filter_map(address) {
        if !found.contains(&address) && found.len() < MOST_NAMESERVERS {
            found.push(address);
        }
    }
    found
}

/// The search path: the domains on the last line `search DOMAIN...` or `domain DOMAIN`.
pub(crate) fn search_path(text: &str) -> Vec<Name> {
    let mut path = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if matches!(words.next(), Some("search" | "domain")) {
            path = words.filter_map(|word| Name::from_text(word).ok()).collect();
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_in_nameserver_lines_is_taken_once() {
        let text = "# nameserver 192.0.2.9\nsearch example.com\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 \n\
                    nameserver 192.0.2.1\nnameserver nonsense\noptions ndots:5\n";
        let found: Vec<_> = nameservers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[2001:db8::1]:53"]);
    }

    #[test]
    fn lines_that_cannot_be_read_do_not_matter() {
        let text = "options unheard-of:7\nnameserver 192.0.2.1 and more\nnonsense\nnameserver fe80::1%eth0\n";
        let found: Vec<_> = nameservers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[fe80::1]:53"]);
    }

    #[test]
    fn the_last_search_line_counts() {
        let path = search_path("search a.example b.example\n# x\nnameserver 192.0.2.1\nsearch c.example .\n");
        let texts: Vec<_> = path.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["c.example.", "."]);
    }
}
