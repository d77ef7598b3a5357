//! From addresses to names.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use papaya::Guard;

use super::table::Map;
use super::{AddressSource, Key, Label, Reading, Records};
use crate::wire::Name;

/// How many parts the addresses of a family are in. A change copies one part for each address; with 100,000 addresses
/// a part has 25.
const SHARDS: u32 = 4096;

/// Which Services an address belongs to.
///
/// There may be as many addresses as endpoints, so they are packed: a part is a sorted list, exchanged whole.
#[derive(Debug)]
pub(crate) struct Reverse {
    v4: Shards<u32>,
    v6: Shards<u128>,
}

/// The addresses of a family.
#[derive(Debug)]
struct Shards<A>(Map<u32, Box<[AddressUse<A>]>>);

/// That an address belongs to a Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AddressUse<A> {
    address: A,
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
pub(crate) struct ReverseName<'a> {
    /// The endpoint's label; `None` for the Service itself.
    pub(crate) label: Option<Label<'a>>,
    /// The Service.
    pub(crate) key: &'a Key,
}

impl<A: Copy + Ord + Into<u128> + 'static> Shards<A> {
    /// The part that an address is in, by its last bits mixed with the others: they differ most.
    fn shard(address: A) -> u32 {
        let bits: u128 = address.into();
        let mixed = (bits ^ bits >> 64) as u64;
        (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u32 % SHARDS
    }

    fn part<'g>(&self, address: A, guard: &'g impl Guard) -> &'g [AddressUse<A>] {
        self.0.get(&Self::shard(address), guard).map_or(&[], |part| part)
    }

    /// The Services that an address belongs to, in order of role.
    fn owners<'g>(&self, address: A, guard: &'g impl Guard) -> &'g [AddressUse<A>] {
        let part = self.part(address, guard);
        let start = part.partition_point(|owner| owner.address < address);
        let length = part[start..].partition_point(|owner| owner.address == address);
        &part[start..start + length]
    }

    fn add(&self, address: A, role: Role, key: &Key, guard: &impl Guard) {
        let part = self.part(address, guard);
        let owner = AddressUse { address, role, key: key.clone() };
        if let Err(place) = part.binary_search(&owner) {
            let (before, after) = part.split_at(place);
            let part: Vec<_> = before.iter().chain([&owner]).chain(after).cloned().collect();
            self.0.insert(Self::shard(address), part.into(), guard);
        }
    }

    fn remove(&self, address: A, role: Role, key: &Key, guard: &impl Guard) {
        let part = self.part(address, guard);
        let gone = |owner: &AddressUse<A>| (owner.address, owner.role, &owner.key) == (address, role, key);
        let left: Box<[_]> = part.iter().filter(|owner| !gone(owner)).cloned().collect();
        if left.is_empty() {
            self.0.remove(&Self::shard(address), guard);
        } else {
            self.0.insert(Self::shard(address), left, guard);
        }
    }

    fn all<'g>(&self, guard: &'g impl Guard) -> impl Iterator<Item = &'g AddressUse<A>> {
        self.0.values(guard).flatten()
    }
}

impl Reverse {
    /// An index in maps that share the table's readers.
    pub(super) fn new(table: &super::table::Maps) -> Self {
        Self { v4: Shards(table.map()), v6: Shards(table.map()) }
    }

    /// Adds the addresses of a Service.
    pub(super) fn add(&self, records: &Records, guard: &impl Guard) {
        for (address, role) in addresses(records) {
            match address {
                IpAddr::V4(v4) => self.v4.add(v4.into(), role, &records.key, guard),
                IpAddr::V6(v6) => self.v6.add(v6.into(), role, &records.key, guard),
            }
        }
    }

    /// Removes the addresses of a Service that it no longer has.
    pub(super) fn remove(&self, old: &Records, new: Option<&Records>, guard: &impl Guard) {
        let kept: BTreeSet<_> = new.into_iter().flat_map(addresses).collect();
        for (address, role) in addresses(old).filter(|place| !kept.contains(place)) {
            match address {
                IpAddr::V4(v4) => self.v4.remove(v4.into(), role, &old.key, guard),
                IpAddr::V6(v6) => self.v6.remove(v6.into(), role, &old.key, guard),
            }
        }
    }

    /// The Services that an address belongs to, in order of role.
    fn owners<'g>(&self, address: IpAddr, guard: &'g impl Guard) -> impl Iterator<Item = (Role, &'g Key)> {
        let (v4, v6) = match address {
            IpAddr::V4(v4) => (self.v4.owners(v4.into(), guard), &[][..]),
            IpAddr::V6(v6) => (&[][..], self.v6.owners(v6.into(), guard)),
        };
        let v6 = v6.iter().map(|owner| (owner.role, &owner.key));
        v4.iter().map(|owner| (owner.role, &owner.key)).chain(v6)
    }

    /// All addresses, in no order.
    pub(super) fn addresses(&self, guard: &impl Guard) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.all(guard).map(|owner| IpAddr::from(Ipv4Addr::from(owner.address)));
        let v6 = self.v6.all(guard).map(|owner| IpAddr::from(Ipv6Addr::from(owner.address)));
        let mut all: Vec<_> = v4.chain(v6).collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter()
    }

    #[cfg(test)]
    pub(super) fn snapshot(
        &self,
        guard: &impl Guard,
    ) -> (BTreeSet<AddressUse<u32>>, BTreeSet<AddressUse<u128>>) {
        (self.v4.all(guard).cloned().collect(), self.v6.all(guard).cloned().collect())
    }
}

fn addresses(records: &Records) -> impl Iterator<Item = (IpAddr, Role)> {
    let own =
        records.v4.iter().copied().map(IpAddr::from).chain(records.v6.iter().copied().map(IpAddr::from));
    let own =
        own.filter(|_| records.source == AddressSource::ClusterIp).map(|address| (address, Role::ClusterIp));
    own.chain(hosts(records).map(|(_, address)| (address, Role::Endpoint)))
}

fn hosts(records: &Records) -> impl Iterator<Item = (Label<'_>, IpAddr)> {
    records.subsets.iter().flat_map(|subset| subset.hosts())
}

impl Reading<'_> {
    /// The Services that an address belongs to.
    fn owners(&self, address: IpAddr) -> impl Iterator<Item = (Role, &Key)> {
        self.table.reverse.owners(address, &self.guard)
    }

    /// Whether any Service has this address.
    pub(crate) fn knows(&self, address: IpAddr) -> bool {
        self.owners(address).next().is_some()
    }

    /// The names an address leads back to: its Service's if it is a ClusterIP (specification 2.3.3), else one
    /// for each Service that it is an endpoint of (2.4.3).
    pub(crate) fn pointers(&self, address: IpAddr) -> impl Iterator<Item = ReverseName<'_>> {
        let mut owners = self.owners(address).peekable();
        let cluster_ip = owners.next_if(|(role, _)| *role == Role::ClusterIp);
        let none_beside = cluster_ip.is_none();
        let endpoints = owners.filter(move |_| none_beside).flat_map(move |(_, key)| {
            let hosts = self.service(key).into_iter().flat_map(hosts);
            let labels: BTreeSet<Label<'_>> =
                hosts.filter(|(_, own)| *own == address).map(|(label, _)| label).collect();
            labels.into_iter().map(move |label| ReverseName { label: Some(label), key })
        });
        cluster_ip.map(|(_, key)| ReverseName { label: None, key }).into_iter().chain(endpoints)
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
