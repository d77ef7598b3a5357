//! Records of the zone itself.

use std::net::IpAddr;

use super::TTL;
use super::write::{Subject, address_record};
use crate::wire::{Reply, Section, kind};
use crate::zone::Zone;

/// The name server, in front of the domain.
const SERVER: &[u8] = b"\x02ns\x03dns";
/// The mailbox of who is responsible, in front of the domain.
const MAILBOX: &[u8] = b"\x0ahostmaster";
/// Version of the schema of names (specification 2.2), as a character string.
const VERSION: &[u8] = b"\x051.1.0";
/// How long the version may be remembered, in seconds; what the specification's example says.
const VERSION_TTL: u32 = 28_800;
/// How long a secondary waits before it looks again, before it tries again, and before it gives up, in seconds.
const SECONDARY: [u32; 3] = [7200, 1800, 86_400];

/// The SOA record; in a negative answer it says how long absence may be remembered (RFC 2308).
pub(super) fn start_of_authority(
    zone: &Zone,
    subject: &Subject<'_>,
    section: Section,
    reply: &mut Reply<'_>,
) {
    let domain = zone.domain().wire();
    let [refresh, retry, expire] = SECONDARY.map(u32::to_be_bytes);
    let (serial, minimum) = (zone.serial().to_be_bytes(), TTL.to_be_bytes());
    let data = [SERVER, domain, MAILBOX, domain, &serial, &refresh, &retry, &expire, &minimum];
    reply.record(section, &[&subject.apex()], kind::SOA, TTL, &data);
}

/// The NS record: this server, with its addresses.
pub(super) fn name_server(zone: &Zone, subject: &Subject<'_>, reply: &mut Reply<'_>) {
    let apex = subject.apex();
    reply.record(Section::Answer, &[&subject.owner()], kind::NS, TTL, &[SERVER, &apex]);
    for address in zone.servers() {
        let kind = if matches!(address, IpAddr::V4(_)) { kind::A } else { kind::AAAA };
        address_record(Section::Additional, kind, &[SERVER, &apex], *address, reply);
    }
}

/// The TXT record with the version of the schema.
pub(super) fn version(subject: &Subject<'_>, reply: &mut Reply<'_>) {
    reply.record(Section::Answer, &[&subject.owner()], kind::TXT, VERSION_TTL, &[VERSION]);
}

/// The one small record that answers a question for everything (RFC 8482, 4.2).
pub(super) fn minimal_any(subject: &Subject<'_>, reply: &mut Reply<'_>) {
    reply.record(Section::Answer, &[&subject.owner()], kind::HINFO, TTL, &[b"\x07RFC8482", b"\x00"]);
}
