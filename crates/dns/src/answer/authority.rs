//! Records of the zone itself.

use std::collections::BTreeSet;

use super::AliasFollower;
use super::write::{Owner, address_record};
use crate::wire::{Reply, Section, kind};
use crate::zone::{OWN_NAME, View};

/// The mailbox of who is responsible, in front of the domain.
const MAILBOX: &[u8] = b"\x0ahostmaster";
/// Version of the schema of names (specification 2.2), as a character string.
const VERSION: &[u8] = b"\x051.1.0";
/// How long the version may be remembered, in seconds; what the specification's example says.
const VERSION_TTL: u32 = 28_800;
/// How long a secondary waits before it looks again, before it tries again, and before it gives up, in seconds.
const SECONDARY: [u32; 3] = [7200, 1800, 86_400];

/// The longest that an SOA record itself may be remembered, in seconds, as CoreDNS has it.
const LONGEST_TTL: u32 = 300;

/// The TTL in seconds and the data of the SOA record of a zone whose name stands where the question does.
pub(crate) fn soa_at_question(view: &View) -> (u32, Vec<u8>) {
    let apex = crate::wire::pointer(crate::wire::HEADER);
    let numbers = [view.table().serial(), SECONDARY[0], SECONDARY[1], SECONDARY[2], view.ttl];
    let data = [OWN_NAME, &apex, MAILBOX, &apex, &numbers.map(u32::to_be_bytes).concat()].concat();
    (view.ttl.min(LONGEST_TTL), data)
}

/// The SOA record; in a negative answer it says how long absence may be remembered (RFC 2308).
pub(super) fn put_soa(view: &View, owner: &Owner<'_>, section: Section, reply: &mut Reply<'_>) {
    let apex = owner.apex();
    let [refresh, retry, expire] = SECONDARY.map(u32::to_be_bytes);
    let (serial, minimum) = (view.table().serial().to_be_bytes(), owner.ttl.to_be_bytes());
    let data = [OWN_NAME, &apex, MAILBOX, &apex, &serial, &refresh, &retry, &expire, &minimum];
    reply.record(section, &[&apex], kind::SOA, owner.ttl.min(LONGEST_TTL), &data);
}

/// The NS records, and the addresses of what they lead to.
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

/// The TXT record with the version of the schema.
pub(super) fn version(owner: &Owner<'_>, reply: &mut Reply<'_>) {
    reply.record(Section::Answer, &[&owner.pointer()], kind::TXT, VERSION_TTL, &[VERSION]);
}

/// The one small record that answers a question for everything (RFC 8482, 4.2).
pub(super) fn minimal_any(owner: &Owner<'_>, reply: &mut Reply<'_>) {
    reply.record(Section::Answer, &[&owner.pointer()], kind::HINFO, owner.ttl, &[b"\x07RFC8482", b"\x00"]);
}
