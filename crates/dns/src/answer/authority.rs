//! The records of the zone itself: SOA, NS, the version of the schema, and the answer to ANY.

use std::collections::BTreeSet;

use super::AliasFollower;
use super::write::{Owner, address_record};
use crate::wire::{Reply, Section, kind};
use crate::zone::{OWN_NAME, View};

/// The mailbox of the administrator, in wire form in front of the domain.
const MAILBOX: &[u8] = b"\x0ahostmaster";
/// The version of the schema (specification 2.2), as a character string.
const VERSION: &[u8] = b"\x051.1.0";
/// The TTL of the version in seconds, as in the example of the specification.
const VERSION_TTL: u32 = 28_800;
/// The fields REFRESH, RETRY and EXPIRE of the SOA record, in seconds.
const SECONDARY: [u32; 3] = [7200, 1800, 86_400];

/// The longest TTL of the SOA record itself in seconds, as in CoreDNS.
const LONGEST_TTL: u32 = 300;

/// The TTL in seconds and the data of the SOA record of a zone, in a message whose question is the name of the zone.
pub(crate) fn soa_at_question(view: &View) -> (u32, Vec<u8>) {
    let apex = crate::wire::pointer(crate::wire::HEADER);
    let numbers = [view.table().serial(), SECONDARY[0], SECONDARY[1], SECONDARY[2], view.ttl];
    let data = [OWN_NAME, &apex, MAILBOX, &apex, &numbers.map(u32::to_be_bytes).concat()].concat();
    (view.ttl.min(LONGEST_TTL), data)
}

/// Writes the SOA record. In a negative answer its last field says how long that may be cached (RFC 2308).
pub(super) fn put_soa(view: &View, owner: &Owner<'_>, section: Section, reply: &mut Reply<'_>) {
    let apex = owner.apex();
    let [refresh, retry, expire] = SECONDARY.map(u32::to_be_bytes);
    let (serial, minimum) = (view.table().serial().to_be_bytes(), owner.ttl.to_be_bytes());
    let data = [OWN_NAME, &apex, MAILBOX, &apex, &serial, &refresh, &retry, &expire, &minimum];
    reply.record(section, &[&apex], kind::SOA, owner.ttl.min(LONGEST_TTL), &data);
}

/// Writes the NS records, and the addresses of the name servers.
pub(super) fn name_servers(from: AliasFollower<'_>, owner: &Owner<'_>, reply: &mut Reply<'_>) {
    let apex = owner.apex();
    let servers = from.view.name_servers(from.reading);
    let names: BTreeSet<_> = servers.iter().map(|(name, _)| name).collect();
    for name in names {
        reply.record(Section::Answer, &[&owner.pointer()], kind::NS, owner.ttl, &[name, &apex]);
    }
    for (name, address) in &servers {
        address_record(Section::Additional, &[name, &apex], owner.ttl, *address, reply);
    }
}

/// Writes the TXT record with the version of the schema.
pub(super) fn version(owner: &Owner<'_>, reply: &mut Reply<'_>) {
    reply.record(Section::Answer, &[&owner.pointer()], kind::TXT, VERSION_TTL, &[VERSION]);
}

/// Writes the one small record that answers a query of type ANY (RFC 8482, 4.2).
pub(super) fn minimal_any(owner: &Owner<'_>, reply: &mut Reply<'_>) {
    reply.record(Section::Answer, &[&owner.pointer()], kind::HINFO, owner.ttl, &[b"\x07RFC8482", b"\x00"]);
}
