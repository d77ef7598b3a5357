//! The upstream resolvers in a file in the format of resolv.conf.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// The most resolvers of a file that are asked, as in CoreDNS; the C library asks three.
const MOST: usize = 15;

/// The resolvers that a file names. If it cannot be read, logs that and returns none.
pub(super) fn read(path: &Path) -> Vec<SocketAddr> {
    match std::fs::read_to_string(path) {
        Ok(text) => nameservers(&text),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the file with upstream resolvers cannot be read");
            Vec::new()
        }
    }
}

/// The resolvers on lines `nameserver ADDRESS` (resolv.conf(5)).
fn nameservers(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        // The scope of an address like fe80::1%eth0 names an interface, and is no part of the address.
        let bare = address.split('%').next().unwrap_or(address);
        bare.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, 53))
    };
    let mut found: Vec<SocketAddr> = Vec::new();
    for address in text.lines().filter_map(address) {
        if !found.contains(&address) && found.len() < MOST {
            found.push(address);
        }
    }
    found
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
}
