//! From what a name means to records.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::answer::{TTL, authority};
use crate::wire::{Name, Reply, Section, kind, pointer, rcode};
use crate::zone::{Filter, Found, Records, Zone};

/// What stands between a Service and the domain.
const SVC: &[u8] = b"\x03svc";

/// A name that records are written for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    /// The name.
    pub(super) name: &'a Name,
    /// Where it stands in the reply, uncompressed.
    pub(super) at: usize,
    /// How many labels it has in front of the apex of its zone.
    pub(super) below: usize,
}

impl Subject<'_> {
    /// A pointer to the name.
    pub(super) fn owner(&self) -> [u8; 2] {
        pointer(self.at)
    }

    /// A pointer to the apex of its zone.
    pub(super) fn apex(&self) -> [u8; 2] {
        self.from(self.below)
    }

    /// A pointer to the name from one of its labels on.
    fn from(&self, label: usize) -> [u8; 2] {
        pointer(self.at + self.name.start(label))
    }

    /// Writes that the name is an alias; returns the place of the target, if it fit.
    pub(super) fn alias(&self, target: &[u8], reply: &mut Reply<'_>) -> Option<usize> {
        let fits = reply.record(Section::Answer, &[&self.owner()], kind::CNAME, TTL, &[target]);
        fits.then(|| reply.place() - target.len())
    }

    fn addresses(&self, kind: u16, addresses: impl Iterator<Item = IpAddr>, reply: &mut Reply<'_>) {
        for address in addresses {
            address_record(Section::Answer, kind, &[&self.owner()], address, reply);
        }
    }
}

/// Writes the records of a type that a name has, and without any who is responsible. Returns the response code.
pub(super) fn records(
    zone: &Zone,
    subject: &Subject<'_>,
    found: &Found<'_>,
    kind: u16,
    reply: &mut Reply<'_>,
) -> u16 {
    let before = reply.place();
    let missing = match (found, kind) {
        (Found::Missing, _) => true,
        (_, kind::ANY) => {
            authority::minimal_any(subject, reply);
            false
        }
        (Found::Address(address), _) if !zone.knows(*address) => true,
        (found, kind) => {
            existing(zone, subject, found, kind, reply);
            false
        }
    };
    if reply.place() == before && !reply.truncated() {
        authority::start_of_authority(zone, subject, Section::Authority, reply);
    }
    if missing { rcode::NXDOMAIN } else { rcode::NOERROR }
}

fn existing(zone: &Zone, subject: &Subject<'_>, found: &Found<'_>, kind: u16, reply: &mut Reply<'_>) {
    match (found, kind) {
        (Found::Apex, kind::SOA) => {
            authority::start_of_authority(zone, subject, Section::Answer, reply);
        }
        (Found::Apex, kind::NS) => authority::name_server(zone, subject, reply),
        (Found::Version, kind::TXT) => authority::version(subject, reply),
        (Found::Server, _) => subject.addresses(kind, zone.servers().iter().copied(), reply),
        (Found::Pod(address), _) => subject.addresses(kind, [*address].into_iter(), reply),
        (Found::Address(address), kind::PTR) => pointers(zone, subject, *address, reply),
        (Found::Service(records, filter), kind::SRV) => locations(zone, subject, records, filter, reply),
        (Found::Service(records, Filter { host: Some(label), .. }), _) => {
            subject.addresses(kind, records.addresses_of(label), reply);
        }
        (Found::Service(records, _), _) => service_addresses(subject, records, kind, reply),
        _ => {}
    }
}

/// The addresses of a Service's own name, beginning at another one for each query: clients take the first one
/// (and a reply that is cut holds only the first ones).
fn service_addresses(subject: &Subject<'_>, records: &Records, kind: u16, reply: &mut Reply<'_>) {
    let turn = usize::from(reply.id());
    match kind {
        kind::A => subject.addresses(kind, rotated(&records.v4, turn).map(IpAddr::from), reply),
        kind::AAAA => subject.addresses(kind, rotated(&records.v6, turn).map(IpAddr::from), reply),
        _ => {}
    }
}

fn rotated<T: Copy>(all: &[T], turn: usize) -> impl Iterator<Item = T> {
    let (late, early) = all.split_at(turn.checked_rem(all.len()).unwrap_or(0));
    early.iter().chain(late).copied()
}

/// SRV records (specification 2.3.2, 2.4.2; RFC 2782) and the addresses of their targets.
///
/// Without a port in the name all ports are told, as programs that look for their peers expect of CoreDNS. All
/// targets have the same priority and share a weight of 100.
fn locations(
    zone: &Zone,
    subject: &Subject<'_>,
    records: &Records,
    filter: &Filter<'_>,
    reply: &mut Reply<'_>,
) {
    let count = records.locations(filter).count();
    let weight = (100 / count.max(1)).max(1) as u16;
    let domain = zone.domain().wire();
    for (port, label) in records.locations(filter) {
        let numbers = [[0, 0], weight.to_be_bytes(), port.number.to_be_bytes()].concat();
        // The target is not compressed (RFC 2782).
        let data = [&*numbers, label, &records.key, SVC, domain];
        reply.record(Section::Answer, &[&subject.owner()], kind::SRV, TTL, &data);
    }
    let service = subject.from(subject.below - 3);
    let mut last: &[u8] = b"none yet";
    for (_, label) in records.locations(filter) {
        if label == last {
            continue;
        }
        last = label;
        let own = label.is_empty();
        let v4 = records.v4.iter().copied().map(IpAddr::from);
        let own_addresses = v4.chain(records.v6.iter().copied().map(IpAddr::from)).filter(|_| own);
        for address in own_addresses.chain(records.addresses_of(label)) {
            let kind = if address.is_ipv4() { kind::A } else { kind::AAAA };
            address_record(Section::Additional, kind, &[label, &service], address, reply);
        }
    }
}

/// PTR records (specification 2.3.3, 2.4.3).
fn pointers(zone: &Zone, subject: &Subject<'_>, address: IpAddr, reply: &mut Reply<'_>) {
    let domain = zone.domain().wire();
    for found in zone.pointers(address) {
        let data = [found.label, found.key, SVC, domain];
        reply.record(Section::Answer, &[&subject.owner()], kind::PTR, TTL, &data);
    }
}

/// Writes an address if it is of the type asked for.
pub(super) fn address_record(
    section: Section,
    kind: u16,
    owner: &[&[u8]],
    address: IpAddr,
    reply: &mut Reply<'_>,
) {
    match (kind, address) {
        (kind::A, IpAddr::V4(v4)) => reply.record(section, owner, kind, TTL, &[&Ipv4Addr::octets(&v4)]),
        (kind::AAAA, IpAddr::V6(v6)) => reply.record(section, owner, kind, TTL, &[&Ipv6Addr::octets(&v6)]),
        _ => return,
    };
}
