//! From addresses to names.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use papaya::{Guard, HashMap};

use super::{Behind, Key, Label, Reading, Records};
use crate::wire::Name;

/// Which Services an address belongs to.
#[derive(Debug)]
pub(crate) struct Reverse(HashMap<[u8; 16], Owners, foldhash::fast::RandomState>);

/// The Services that an address belongs to, in order. There is one, more often than not.
#[derive(Debug)]
pub(super) enum Owners {
    One(Owner),
    Many(Box<[Owner]>),
}

impl Owners {
    fn new(owners: Vec<Owner>) -> Option<Self> {
        match <[Owner; 1]>::try_from(owners) {
            Ok([one]) => Some(Self::One(one)),
            Err(owners) => (!owners.is_empty()).then(|| Self::Many(owners.into())),
        }
    }

    fn all(&self) -> &[Owner] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(all) => all,
        }
    }
}

/// A Service that an address belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    role: Role,
    key: Key,
}

/// What an address is to a Service. A ClusterIP comes first: it is asked for more, and names one Service only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    ClusterIp,
    Endpoint,
}

/// A name that an address leads back to.
#[derive(Debug)]
pub(crate) struct Pointer<'a> {
    /// The endpoint's label; `None` for the Service itself.
    pub(crate) label: Option<Label<'a>>,
    /// The Service.
    pub(crate) key: &'a Key,
}

/// An address as 16 bytes, an IPv4 address mapped to IPv6.
pub(super) fn bits(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

impl Reverse {
    /// The index in a map that shares the table's readers.
    pub(super) fn new(map: HashMap<[u8; 16], Owners, foldhash::fast::RandomState>) -> Self {
        Self(map)
    }

    /// Adds the addresses of a Service.
    pub(super) fn add(&self, records: &Records, guard: &impl Guard) {
        for (address, role) in addresses(records) {
            let owner = Owner { role, key: records.key.clone() };
            let owners = self.owners(address, guard);
            let Err(place) = owners.binary_search(&owner) else { continue };
            let mut owners = owners.to_vec();
            owners.insert(place, owner);
            self.set(address, owners, guard);
        }
    }

    /// Removes the addresses of a Service that it no longer has.
    pub(super) fn remove(&self, old: &Records, new: Option<&Arc<Records>>, guard: &impl Guard) {
        let kept: BTreeSet<_> = new.into_iter().flat_map(|new| addresses(new)).collect();
        for (address, role) in addresses(old).filter(|place| !kept.contains(place)) {
            let owners = self.owners(address, guard).iter();
            let left = owners.filter(|owner| (owner.role, &owner.key) != (role, &old.key));
            self.set(address, left.cloned().collect(), guard);
        }
    }

    fn set(&self, address: IpAddr, owners: Vec<Owner>, guard: &impl Guard) {
        match Owners::new(owners) {
            Some(owners) => drop(self.0.insert(bits(address), owners, guard)),
            None => drop(self.0.remove(&bits(address), guard)),
        }
    }

    /// The Services that an address belongs to, in order of role.
    pub(super) fn owners<'g>(&self, address: IpAddr, guard: &'g impl Guard) -> &'g [Owner] {
        self.0.get(&bits(address), guard).map_or(&[], Owners::all)
    }

    /// All addresses, in no order.
    pub(super) fn addresses(&self, guard: &impl Guard) -> impl Iterator<Item = IpAddr> {
        self.0.keys(guard).map(|bits| Ipv6Addr::from(*bits).to_canonical())
    }

    #[cfg(test)]
    pub(super) fn snapshot(&self, guard: &impl Guard) -> std::collections::BTreeMap<[u8; 16], Vec<Owner>> {
        self.0.iter(guard).map(|(bits, owners)| (*bits, owners.all().to_vec())).collect()
    }
}

fn addresses(records: &Records) -> impl Iterator<Item = (IpAddr, Role)> {
    let own =
        records.v4.iter().copied().map(IpAddr::from).chain(records.v6.iter().copied().map(IpAddr::from));
    let own = own.filter(|_| records.behind == Behind::ClusterIp).map(|address| (address, Role::ClusterIp));
    own.chain(hosts(records).map(|(_, address)| (address, Role::Endpoint)))
}

fn hosts(records: &Records) -> impl Iterator<Item = (Label<'_>, IpAddr)> {
    records.groups.iter().flat_map(|group| group.hosts())
}

impl Reading<'_> {
    /// Whether any Service has this address.
    pub(crate) fn knows(&self, address: IpAddr) -> bool {
        !self.owners(address).is_empty()
    }

    /// The names an address leads back to: its Service's if it is a ClusterIP (specification 2.3.3), else one
    /// for each Service that it is an endpoint of (2.4.3).
    pub(crate) fn pointers(&self, address: IpAddr) -> impl Iterator<Item = Pointer<'_>> {
        let owners = self.owners(address);
        let cluster_ip = owners.first().filter(|owner| owner.role == Role::ClusterIp);
        let endpoints = if cluster_ip.is_some() { &[][..] } else { owners };
        let endpoints = endpoints.iter().flat_map(move |owner| {
            let hosts = self.service(&owner.key).into_iter().flat_map(|records| hosts(records));
            let labels: BTreeSet<Label<'_>> =
                hosts.filter(|(_, own)| *own == address).map(|(label, _)| label).collect();
            labels.into_iter().map(move |label| Pointer { label: Some(label), key: &owner.key })
        });
        cluster_ip.map(|owner| Pointer { label: None, key: &owner.key }).into_iter().chain(endpoints)
    }
}

/// The address that a name under `in-addr.arpa` or `ip6.arpa` spells (RFC 1035, 3.5; RFC 3596, 2.5).
pub(crate) fn address(name: &Name) -> Option<IpAddr> {
    let labels = name.labels();
    if labels < 2 || name.label(labels - 1) != b"arpa" {
        return None;
    }
    match (name.label(labels - 2), labels - 2) {
        (b"in-addr", 4) => {
            let mut bytes = [0; 4];
            for (index, byte) in bytes.iter_mut().enumerate() {
                *byte = octet(name.label(3 - index))?;
            }
            Some(Ipv4Addr::from(bytes).into())
        }
        (b"ip6", 32) => {
            let mut bits = 0u128;
            for index in (0..32).rev() {
                let [digit] = name.label(index) else { return None };
                bits = bits << 4 | u128::from(char::from(*digit).to_digit(16)?);
            }
            Some(Ipv6Addr::from(bits).into())
        }
        _ => None,
    }
}

/// A decimal number below 256 without leading zeros.
fn octet(digits: &[u8]) -> Option<u8> {
    if digits.is_empty() || digits.len() > 3 || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    let number = digits.iter().try_fold(0u16, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + u16::from(digit - b'0'))
    })?;
    u8::try_from(number).ok()
}
