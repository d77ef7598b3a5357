//! Upstream resolvers that a file in the form of resolv.conf names.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// How many resolvers of a file are asked; the C library heeds three, CoreDNS fifteen.
const MOST: usize = 15;

/// The resolvers that a file names; none if it cannot be read, which is said.
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
        // A scope, as in fe80::1%eth0, names an interface, not another address.
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
    fn only_nameserver_lines_count_each_once() {
        let text = "# nameserver 192.0.2.9\nsearch example.com\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 \n\
                    nameserver 192.0.2.1\nnameserver nonsense\noptions ndots:5\n";
        let found: Vec<_> = nameservers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[2001:db8::1]:53"]);
    }
}
