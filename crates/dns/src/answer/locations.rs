//! SRV records.

use std::net::IpAddr;

use super::write::{Subject, address_record, name, put_address};
use crate::wire::{LAST_POINTED, Reply, Section, kind, pointer};
use crate::zone::{Filter, Records};

/// Bytes of an SRV record in front of its target: the owner as a pointer, type, class, TTL, length, priority,
/// weight and port.
const IN_FRONT: usize = 2 + 10 + 6;

/// SRV records (specification 2.3.2, 2.4.2; RFC 2782) and the addresses of their targets.
///
/// Without a port in the name all ports are told, as programs that look for their peers expect of CoreDNS. All
/// targets have the same priority and share a weight of 100. Targets are in the zone that was asked.
pub(super) fn write(subject: &Subject<'_>, records: &Records, filter: &Filter<'_>, reply: &mut Reply<'_>) {
    let count = records.locations(filter).count();
    let weight = (100 / count.max(1)).max(1) as u16;
    let weight = weight.to_be_bytes();
    let mut place = reply.place();
    let mut buffer = [0; 64];
    for location in records.locations(filter) {
        let label = location.label.as_ref().map_or(&[][..], |label| label.wire(&mut buffer));
        let Some([host, service, svc, domain]) = name(label, &records.key, subject.zone()) else { continue };
        // The target is not compressed (RFC 2782).
        let data = [&[0, 0], &weight, &location.port.number.to_be_bytes()[..], host, service, svc, domain];
        reply.record(Section::Answer, &[&subject.owner()], kind::SRV, subject.ttl, &data);
    }
    if reply.truncated() {
        return;
    }
    let service = subject.from(subject.below - 3);
    for location in records.locations(filter) {
        let label = location.label.as_ref().map_or(&[][..], |label| label.wire(&mut buffer));
        let Some(target) = name(label, &records.key, subject.zone()) else { continue };
        // Each record stands where it was written, so that its target can be pointed to.
        let at = place + IN_FRONT;
        place = at + target.iter().map(|part| part.len()).sum::<usize>();
        if !location.first {
            continue;
        }
        let own = records.v4.iter().copied().map(IpAddr::from);
        let own = own.chain(records.v6.iter().copied().map(IpAddr::from));
        let own = own.filter(|_| location.label.is_none());
        let of_endpoint = location.label.into_iter().flat_map(|label| records.addresses_of(label));
        for address in own.chain(of_endpoint) {
            if at <= LAST_POINTED {
                put_address(Section::Additional, pointer(at), subject.ttl, address, reply);
            } else {
                address_record(Section::Additional, &[label, &service], subject.ttl, address, reply);
            }
        }
    }
}
