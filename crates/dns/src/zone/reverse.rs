//! The reverse index: from addresses to the names of Services and endpoints.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use papaya::Guard;

use super::table::Map;
use super::{AddressSource, Key, Label, Reading, Records};
use crate::wire::Name;

/// The number of shards of each address family. A change copies one shard for each address; with 100,000 addresses a
/// shard has 25 of them.
const SHARDS: u32 = 4096;

/// The Services that each address belongs to.
///
/// There may be as many addresses as endpoints, so they are packed: each shard is a sorted list that is replaced
/// whole.
#[derive(Debug)]
pub(crate) struct Reverse {
    v4: Shards<u32>,
    v6: Shards<u128>,
}

/// The addresses of one family, in shards.
#[derive(Debug)]
struct Shards<A>(Map<u32, Box<[AddressUse<A>]>>);

/// One address of one Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AddressUse<A> {
    address: A,
    role: Role,
    key: Key,
}

/// What the address is in the Service. ClusterIPs come first, as their reverse name hides those of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    ClusterIp,
    Endpoint,
}

/// The target of a PTR record.
#[derive(Debug)]
pub(crate) struct ReverseName<'a> {
    /// The label of the endpoint; `None` for the Service itself.
    pub(crate) label: Option<Label<'a>>,
    /// The key of the Service.
    pub(crate) key: &'a Key,
}

impl<A: Copy + Ord + Into<u128> + 'static> Shards<A> {
    /// The shard of an address: a hash of its bits.
    fn shard(address: A) -> u32 {
        let bits: u128 = address.into();
        let mixed = (bits ^ bits >> 64) as u64;
        (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u32 % SHARDS
    }

    fn shard_of<'g>(&self, address: A, guard: &'g impl Guard) -> &'g [AddressUse<A>] {
        self.0.get(&Self::shard(address), guard).map_or(&[], |part| part)
    }

    /// The Services that an address belongs to, those of ClusterIPs first.
    fn owners<'g>(&self, address: A, guard: &'g impl Guard) -> &'g [AddressUse<A>] {
        let part = self.shard_of(address, guard);
        let start = part.partition_point(|owner| owner.address < address);
        let length = part[start..].partition_point(|owner| owner.address == address);
        &part[start..start + length]
    }

    fn add(&self, address: A, role: Role, key: &Key, guard: &impl Guard) {
        let part = self.shard_of(address, guard);
        let owner = AddressUse { address, role, key: key.clone() };
        if let Err(place) = part.binary_search(&owner) {
            let (before, after) = part.split_at(place);
            let part: Vec<_> = before.iter().chain([&owner]).chain(after).cloned().collect();
            self.0.insert(Self::shard(address), part.into(), guard);
        }
    }

    fn remove(&self, address: A, role: Role, key: &Key, guard: &impl Guard) {
        let part = self.shard_of(address, guard);
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
    /// An empty index. Its maps are read under the same guard as those of the table.
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

    /// Removes the addresses that a Service had in its old records and does not have in the new.
    pub(super) fn remove(&self, old: &Records, new: Option<&Records>, guard: &impl Guard) {
        let kept: BTreeSet<_> = new.into_iter().flat_map(addresses).collect();
        for (address, role) in addresses(old).filter(|place| !kept.contains(place)) {
            match address {
                IpAddr::V4(v4) => self.v4.remove(v4.into(), role, &old.key, guard),
                IpAddr::V6(v6) => self.v6.remove(v6.into(), role, &old.key, guard),
            }
        }
    }

    /// The Services that an address belongs to, those of ClusterIPs first.
    fn owners<'g>(&self, address: IpAddr, guard: &'g impl Guard) -> impl Iterator<Item = (Role, &'g Key)> {
        let (v4, v6) = match address {
            IpAddr::V4(v4) => (self.v4.owners(v4.into(), guard), &[][..]),
            IpAddr::V6(v6) => (&[][..], self.v6.owners(v6.into(), guard)),
        };
        let v6 = v6.iter().map(|owner| (owner.role, &owner.key));
        v4.iter().map(|owner| (owner.role, &owner.key)).chain(v6)
    }

    /// All addresses, in order.
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

    /// Whether a Service has this address as ClusterIP or endpoint.
    pub(crate) fn knows(&self, address: IpAddr) -> bool {
        self.owners(address).next().is_some()
    }

    /// The reverse names of an address: for a ClusterIP the name of its Service (specification 2.3.3), otherwise the
    /// name of the endpoint in each of its Services (2.4.3).
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
