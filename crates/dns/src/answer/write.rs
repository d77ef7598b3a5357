//! Writing the records of a name.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{AliasFollower, authority, srv};
use crate::wire::{LONGEST_NAME, Name, Reply, Section, kind, pointer, rcode};
use crate::zone::{AddressSource, Found, Label, RecordFilter, Records, SVC};

/// The owner name of records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner<'a> {
    /// The name.
    pub(super) name: &'a Name,
    /// Its offset in the reply, where it stands uncompressed.
    pub(super) at: usize,
    /// How many labels it has in front of the apex of its zone.
    pub(super) below: usize,
    /// The TTL of its records, in seconds.
    pub(super) ttl: u32,
}

impl Owner<'_> {
    /// A pointer to the name.
    pub(super) fn pointer(&self) -> [u8; 2] {
        pointer(self.at)
    }

    /// A pointer to the apex of its zone.
    pub(super) fn apex(&self) -> [u8; 2] {
        self.from(self.below)
    }

    /// The zone, in wire form.
    pub(super) fn zone(&self) -> &[u8] {
        &self.name.wire()[self.name.start(self.below)..]
    }

    /// A pointer to the end of the name that begins with one of its labels.
    pub(super) fn from(&self, label: usize) -> [u8; 2] {
        pointer(self.at + self.name.start(label))
    }

    /// Writes a CNAME record. Returns the offset of the target; `None` if the record did not fit.
    pub(super) fn alias(&self, target: &[u8], reply: &mut Reply<'_>) -> Option<usize> {
        let fits = reply.record(Section::Answer, &[&self.pointer()], kind::CNAME, self.ttl, &[target]);
        fits.then(|| reply.place() - target.len())
    }

    fn addresses(&self, kind: u16, addresses: impl Iterator<Item = IpAddr>, reply: &mut Reply<'_>) {
        for address in addresses {
            if kind == address_kind(address) {
                put_address(Section::Answer, self.pointer(), self.ttl, address, reply);
            }
        }
    }
}

/// Writes the records that a name has of a type; if there are none, the SOA record of the zone. Returns the response
/// code.
pub(super) fn records(
    from: AliasFollower<'_>,
    owner: &Owner<'_>,
    found: &Found<'_>,
    kind: u16,
    reply: &mut Reply<'_>,
) -> u16 {
    let before = reply.place();
    let missing = matches!(found, Found::Missing);
    match kind {
        _ if missing => {}
        kind::ANY => authority::minimal_any(owner, reply),
        kind => existing(from, owner, found, kind, reply),
    }
    if reply.place() == before && !reply.truncated() {
        authority::put_soa(from.view, owner, Section::Authority, reply);
    }
    if missing { rcode::NXDOMAIN } else { rcode::NOERROR }
}

fn existing(from: AliasFollower<'_>, owner: &Owner<'_>, found: &Found<'_>, kind: u16, reply: &mut Reply<'_>) {
    match (found, kind) {
        (Found::Apex, kind::SOA) => {
            authority::put_soa(from.view, owner, Section::Answer, reply);
        }
        (Found::Apex, kind::NS) => authority::name_servers(from, owner, reply),
        (Found::Version, kind::TXT) => authority::version(owner, reply),
        (Found::Server, _) => {
            let servers = from.view.name_servers(from.reading);
            let addresses: BTreeSet<_> = servers.into_iter().map(|(_, address)| address).collect();
            owner.addresses(kind, addresses.into_iter(), reply);
        }
        (Found::Pod(address), _) => owner.addresses(kind, [*address].into_iter(), reply),
        (Found::Address(address), kind::PTR) => pointers(from, owner, *address, reply),
        (Found::Service(records, filter), kind::SRV) => srv::write(owner, records, filter, reply),
        (Found::Service(records, RecordFilter { host: Some(label), .. }), _) => {
            owner.addresses(kind, records.addresses_of(*label), reply);
        }
        (Found::Service(records, filter), _)
            if filter.port.is_some() && records.source == AddressSource::Endpoints =>
        {
            owner.addresses(kind, records.addresses_serving(filter).into_iter(), reply);
        }
        (Found::Service(records, _), _) => service_addresses(owner, records, from.turn, kind, reply),
        _ => {}
    }
}

/// Writes the addresses of the name of a Service. Each turn begins with another address: clients take the first one,
/// and a truncated reply has only the first ones.
fn service_addresses(owner: &Owner<'_>, records: &Records, turn: usize, kind: u16, reply: &mut Reply<'_>) {
    match kind {
        kind::A => owner.addresses(kind, rotated(&records.v4, turn).map(IpAddr::from), reply),
        kind::AAAA => owner.addresses(kind, rotated(&records.v6, turn).map(IpAddr::from), reply),
        _ => {}
    }
}

fn rotated<T: Copy>(all: &[T], turn: usize) -> impl Iterator<Item = T> {
    let (late, early) = all.split_at(turn.checked_rem(all.len()).unwrap_or(0));
    early.iter().chain(late).copied()
}

/// Writes PTR records (specification 2.3.3, 2.4.3).
fn pointers(from: AliasFollower<'_>, owner: &Owner<'_>, address: IpAddr, reply: &mut Reply<'_>) {
    let mut buffer = [0; 64];
    for found in from.view.pointers(from.reading, address) {
        let label = found.label.as_ref().map_or(&[][..], |label: &Label<'_>| label.wire(&mut buffer));
        if let Some(name) = name(label, found.key, from.view.domain().wire()) {
            reply.record(Section::Answer, &[&owner.pointer()], kind::PTR, owner.ttl, &name);
        }
    }
}

/// The name of a Service or of one of its endpoints, in parts; `None` if it is longer than names may be.
pub(super) fn name<'a>(label: &'a [u8], key: &'a [u8], domain: &'a [u8]) -> Option<[&'a [u8]; 4]> {
    let parts = [label, key, SVC, domain];
    (parts.iter().map(|part| part.len()).sum::<usize>() <= LONGEST_NAME).then_some(parts)
}

/// The type of the record of an address.
pub(super) fn address_kind(address: IpAddr) -> u16 {
    if address.is_ipv4() { kind::A } else { kind::AAAA }
}

/// Writes an address record whose owner is a pointer. Returns whether it fit.
pub(super) fn put_address(
    section: Section,
    owner: [u8; 2],
    ttl: u32,
    address: IpAddr,
    reply: &mut Reply<'_>,
) -> bool {
    match address {
        IpAddr::V4(v4) => reply.address(section, owner, (kind::A, ttl), v4.octets()),
        IpAddr::V6(v6) => reply.address(section, owner, (kind::AAAA, ttl), v6.octets()),
    }
}

/// Writes an address record whose owner is given in parts. Returns whether it fit.
pub(super) fn address_record(
    section: Section,
    owner: &[&[u8]],
    ttl: u32,
    address: IpAddr,
    reply: &mut Reply<'_>,
) -> bool {
    let kind = address_kind(address);
    match address {
        IpAddr::V4(v4) => reply.record(section, owner, kind, ttl, &[&v4.octets()]),
        IpAddr::V6(v6) => reply.record(section, owner, kind, ttl, &[&v6.octets()]),
    }
}
