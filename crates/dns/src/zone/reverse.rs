//! From addresses to names.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::{Behind, Host, Key, Records, Zone};
use crate::wire::Name;

/// Which Services an address belongs to.
#[derive(Debug, Default)]
pub(crate) struct Reverse(BTreeSet<(IpAddr, Role, Key)>);

/// What an address is to a Service. A ClusterIP comes first: it is asked for more, and names one Service only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    ClusterIp,
    Endpoint,
}

/// A name that an address leads back to.
#[derive(Debug)]
pub(crate) struct Pointer<'a> {
    /// The endpoint's label in wire form; empty for the Service itself.
    pub(crate) label: &'a [u8],
    /// The Service.
    pub(crate) key: &'a Key,
}

impl Reverse {
    /// Adds the addresses of a Service.
    pub(crate) fn add(&mut self, records: &Records) {
        for (address, role) in addresses(records) {
            self.0.insert((address, role, records.key.clone()));
        }
    }

    /// Removes the addresses of a Service that it no longer has.
    pub(crate) fn remove(&mut self, old: &Records, new: Option<&Arc<Records>>) {
        let kept: BTreeSet<_> = new.into_iter().flat_map(|new| addresses(new)).collect();
        for (address, role) in addresses(old).filter(|place| !kept.contains(place)) {
            self.0.remove(&(address, role, old.key.clone()));
        }
    }

    fn services(&self, address: IpAddr) -> impl Iterator<Item = (Role, &Key)> {
        let from = (address, Role::ClusterIp, Key::default());
        let range = self.0.range(from..).take_while(move |(found, ..)| *found == address);
        range.map(|(_, role, key)| (*role, key))
    }
}

fn addresses(records: &Records) -> impl Iterator<Item = (IpAddr, Role)> {
    let own =
        records.v4.iter().copied().map(IpAddr::from).chain(records.v6.iter().copied().map(IpAddr::from));
    let own = own.filter(|_| records.behind == Behind::ClusterIp).map(|address| (address, Role::ClusterIp));
    own.chain(hosts(records).map(|host| (host.address, Role::Endpoint)))
}

fn hosts(records: &Records) -> impl Iterator<Item = &Host> {
    records.groups.iter().flat_map(|group| group.hosts.iter())
}

impl Zone {
    /// Whether any Service has this address.
    pub(crate) fn knows(&self, address: IpAddr) -> bool {
        self.reverse.services(address).next().is_some()
    }

    /// The names an address leads back to: its Service's if it is a ClusterIP (specification 2.3.3), else one
    /// for each Service that it is an endpoint of (2.4.3).
    pub(crate) fn pointers(&self, address: IpAddr) -> impl Iterator<Item = Pointer<'_>> {
        let mut services = self.reverse.services(address).peekable();
        let cluster_ip = services.next_if(|(role, _)| *role == Role::ClusterIp);
        let none_beside = cluster_ip.is_none();
        let endpoints = services.filter(move |_| none_beside).flat_map(move |(_, key)| {
            let records = self.services.get(key);
            let hosts = records.into_iter().flat_map(|records| hosts(records));
            let labels: BTreeSet<&[u8]> =
                hosts.filter(|host| host.address == address).map(|host| &*host.label).collect();
            labels.into_iter().map(move |label| Pointer { label, key })
        });
        cluster_ip.map(|(_, key)| Pointer { label: &[], key }).into_iter().chain(endpoints)
    }
}

/// The address that a name under `in-addr.arpa` or `ip6.arpa` spells (RFC 1035, 3.5; RFC 3596, 2.5), with the
/// number of its labels in front of that.
pub(crate) fn address(name: &Name) -> Option<(IpAddr, usize)> {
    let labels = name.labels();
    if labels < 2 || name.label(labels - 1) != b"arpa" {
        return None;
    }
    match (name.label(labels - 2), labels - 2) {
        (b"in-addr", 4) => {
            let mut bytes = [0; 4];
            for (index, byte) in bytes.iter_mut().enumerate() {
                let digits = std::str::from_utf8(name.label(3 - index)).ok()?;
                *byte = digits.parse().ok().filter(|byte: &u8| byte.to_string() == digits)?;
            }
            Some((Ipv4Addr::from(bytes).into(), 4))
        }
        (b"ip6", 32) => {
            let mut bits = 0u128;
            for index in (0..32).rev() {
                let [digit] = name.label(index) else { return None };
                bits = bits << 4 | u128::from(char::from(*digit).to_digit(16)?);
            }
            Some((Ipv6Addr::from(bits).into(), 32))
        }
        _ => None,
    }
}
