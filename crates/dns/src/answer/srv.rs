//! Writing SRV records.

use std::net::IpAddr;

use super::write::{Owner, address_record, name, put_address};
use crate::wire::{LAST_POINTED, Reply, Section, kind, pointer};
use crate::zone::{RecordFilter, Records};

/// The length in bytes of an SRV record in front of its target: the owner as a pointer, type, class, TTL, length,
/// priority, weight and port.
const IN_FRONT: usize = 2 + 10 + 6;

/// Writes SRV records (specification 2.3.2, 2.4.2; RFC 2782) and the addresses of their targets.
///
/// A name without a port has the records of all ports, as in CoreDNS: programs that look for their peers expect it.
/// All targets have the same priority and share a weight of 100. Targets are in the zone of the question.
pub(super) fn write(owner: &Owner<'_>, records: &Records, filter: &RecordFilter<'_>, reply: &mut Reply<'_>) {
    let count = records.srv_targets(filter).count();
    let weight = (100 / count.max(1)).max(1) as u16;
    let weight = weight.to_be_bytes();
    let mut place = reply.place();
    let mut buffer = [0; 64];
    for target in records.srv_targets(filter) {
        let label = target.label.as_ref().map_or(&[][..], |label| label.wire(&mut buffer));
        let Some([host, service, svc, domain]) = name(label, &records.key, owner.zone()) else { continue };
        // The target is not compressed (RFC 2782).
        let data = [&[0, 0], &weight, &target.port.number.to_be_bytes()[..], host, service, svc, domain];
        reply.record(Section::Answer, &[&owner.pointer()], kind::SRV, owner.ttl, &data);
    }
    if reply.truncated() {
        return;
    }
    let service = owner.from(owner.below - 3);
    for target in records.srv_targets(filter) {
        let label = target.label.as_ref().map_or(&[][..], |label| label.wire(&mut buffer));
        let Some(host) = name(label, &records.key, owner.zone()) else { continue };
        // The records were written one behind the other, so the offset of each target is known and its addresses can
        // point to it.
        let at = place + IN_FRONT;
        place = at + host.iter().map(|part| part.len()).sum::<usize>();
        if !target.first {
            continue;
        }
        let own = records.v4.iter().copied().map(IpAddr::from);
        let own = own.chain(records.v6.iter().copied().map(IpAddr::from));
        let own = own.filter(|_| target.label.is_none());
        let of_endpoint = target.label.into_iter().flat_map(|label| records.addresses_of(label));
        for address in own.chain(of_endpoint) {
            if at <= LAST_POINTED {
                put_address(Section::Additional, pointer(at), owner.ttl, address, reply);
            } else {
                address_record(Section::Additional, &[label, &service], owner.ttl, address, reply);
            }
        }
    }
}
