//! The addresses of this machine.

use std::net::IpAddr;

/// The addresses of an interface, without link-local ones; `None` if there is no such interface.
pub(crate) fn addresses(interface: &str) -> Option<Vec<IpAddr>> {
    let all = if_addrs::get_if_addrs().ok()?;
    let own: Vec<_> = all.iter().filter(|one| one.name == interface).map(if_addrs::Interface::ip).collect();
    (!own.is_empty()).then(|| own.into_iter().filter(|address| !is_link_local(*address)).collect())
}

/// The addresses at which other machines reach this one: neither loopback nor link-local.
pub(crate) fn own() -> Vec<IpAddr> {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    let mut own: Vec<_> = all.iter().map(if_addrs::Interface::ip).collect();
    own.retain(|address| !address.is_loopback() && !is_link_local(*address));
    own.sort();
    own.dedup();
    own
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
