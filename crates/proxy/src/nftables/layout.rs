//! The layout in the kernel: table `inet portolan`.
//!
//! ```text
//! guard (filter prerouting and output, before translation; new connections)
//!   address . protocol . port  ──▶ guarded-ips ──▶ let-in-…: drops who is not in loadBalancerSourceRanges
//! services (nat prerouting, output)
//!   │  cluster IP, client not a pod: mark for masquerading
//!   ├─ address . protocol . port  ──▶ service-ips  ─┐  verdict map, one element per front
//!   └─ protocol . port, if local  ──▶ node-ports   ─┤
//!                                                   ▼
//!                            service-1-4, node-port-5-8, …   one chain per four COUNTS of slots, not per Service
//!                              key . random number below 4, 3, 2, 1  ──▶ service-endpoints, node-port-endpoints
//!                                                               data map: endpoint address . port
//!                            service-hashed-sticky-1-4, …  first looks in affinity
//!                              client . address . protocol . port  ──▶ endpoint of this client
//! remember (nat postrouting and input, before masquerading; what was translated)
//!   address . protocol . port, or protocol . port  ──▶ remembering-ips, remembering-node-ports
//!                            remember-10800s, …     one chain per TIMEOUT
//!                              front . endpoint in sticky-endpoints: update affinity
//! no-node-port-endpoints (filter input), no-endpoints (filter input, forward, output), new connections
//!   sets of fronts without endpoints  ──▶ reject
//! no-such-port (filter forward, output; new connections)
//!   cluster IPs, for ports that do not exist  ──▶ reject; other addresses of the ServiceCIDRs  ──▶ drop
//! nat-postrouting
//!   marked connections, and endpoints that met themselves: masquerade
//! ```
//!
//! All sets exist once per family; those of IPv6 end in `6`. The number of sets, chains and rules does not grow
//! with the cluster, but for different timeouts of session affinity (a chain for each) and different lists of source
//! ranges (a chain and a set for each). So a packet's way and a change's cost do not either: one endpoint is one element
//! of a map.
//!
//! The endpoints hang on the front (address, protocol, port, index) and not on a number of the Service, although
//! that repeats them for a Service with a node port: a key made of a looked-up number and a random one works in
//! the kernel but makes `nft list` abort (1.0.6), and a table that cannot be listed cannot be trusted. For the same
//! reason clients are remembered after translation: what was looked up cannot be listed as what is remembered.
//!
//! A packet may do its two lookups on both sides of a commit and miss its slot. Each chain therefore ends with
//! the first slot as a last try.

mod base;
mod chain;
mod counting;
mod elements;
mod guard;
mod pick;
mod remember;
mod sets;
mod surroundings;

pub(super) use base::ct_bits;
pub use base::{base, bridge_table, table};
pub use chain::ServiceChain;
pub use counting::{CountingSet, Counts, FrontKey};
pub use elements::{Edits, edits};
pub use remember::{affinity_maps, remembered};
pub use surroundings::surroundings;

use std::net::IpAddr;

use nfnetlink::Expr;
use nfnetlink::expr::{LookupResult, MetaKey, PayloadBase, Register};
use service::Family;

use sets::CLUSTER_CIDRS;

use crate::nftables::settings::{Pods, Settings};

/// `IFNAMSIZ`: bytes of an interface's name.
const INTERFACE_NAME: usize = 16;
/// First register of a lookup's key.
pub(super) const KEY: Register = Register(0);

/// The register `words` 32-bit registers after the first of the key.
pub(super) fn key_register(words: u8) -> Register {
    Register(KEY.0 + words)
}

/// Which address of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Address {
    Source,
    Destination,
}

/// What differs between the families in the wire format and in nf_tables.
#[derive(Debug, Clone, Copy)]
struct Wire {
    /// `NFPROTO_*`.
    nfproto: u8,
    /// Offsets of source and destination in the IP header.
    offsets: (u32, u32),
    /// Length of an address in bytes.
    length: u32,
}

fn wire(family: Family) -> Wire {
    match family {
        Family::V4 => Wire { nfproto: 2, offsets: (12, 16), length: 4 },
        Family::V6 => Wire { nfproto: 10, offsets: (8, 24), length: 16 },
    }
}

/// Registers an address takes.
fn address_words(family: Family) -> u8 {
    (wire(family).length / 4) as u8
}

/// The rule goes on only for packets of this family.
fn only(family: Family) -> [Expr; 2] {
    [
        Expr::Meta { key: MetaKey::NfProto, to: KEY },
        Expr::Compare { from: KEY, equal: true, value: vec![wire(family).nfproto] },
    ]
}

fn load_address(family: Family, address: Address, to: Register) -> Expr {
    let Wire { offsets: (source, destination), length, .. } = wire(family);
    let offset = if address == Address::Source { source } else { destination };
    Expr::Payload { base: PayloadBase::Network, offset, length, to }
}

/// Loads protocol and destination port into two registers.
pub(super) fn load_protocol_and_port(to: Register) -> [Expr; 2] {
    [
        Expr::Meta { key: MetaKey::L4Proto, to },
        // TCP, UDP and SCTP have the destination port at the same place.
        Expr::Payload { base: PayloadBase::Transport, offset: 2, length: 2, to: Register(to.0 + 1) },
    ]
}

/// The rule goes on only for packets of pods, or only for those of others; `None` if they cannot be told.
fn pods(settings: &Settings, family: Family, wanted: bool) -> Option<Vec<Expr>> {
    let mut expressions = only(family).to_vec();
    match settings.pods(family) {
        Pods::Unknown => return None,
        Pods::Addresses => {
            let result = if wanted { LookupResult::Contained } else { LookupResult::NotContained };
            expressions.extend([
                load_address(family, Address::Source, KEY),
                Expr::Lookup { set: CLUSTER_CIDRS.name(family).into(), from: KEY, result },
            ]);
        }
        Pods::Interface { name, prefix } => {
            let mut value = name.clone().into_bytes();
            if !prefix {
                value.resize(INTERFACE_NAME, 0);
            }
            expressions.extend([
                Expr::Meta { key: MetaKey::InterfaceName, to: KEY },
                Expr::Compare { from: KEY, equal: wanted, value },
            ]);
        }
    }
    Some(expressions)
}

/// Translates the destination to the address and port that begin in this register.
pub(super) fn dnat(family: Family, endpoint: Register) -> Expr {
    Expr::Dnat {
        family: match family {
            Family::V4 => nfnetlink::Family::Ip,
            Family::V6 => nfnetlink::Family::Ip6,
        },
        address: endpoint,
        port: Some(Register(endpoint.0 + address_words(family))),
    }
}

/// An address in network order.
pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Loads the key of a front: destination address, protocol and port.
fn load_service_ip(family: Family) -> Vec<Expr> {
    let mut expressions = vec![load_address(family, Address::Destination, KEY)];
    expressions.extend(load_protocol_and_port(key_register(address_words(family))));
    expressions
}

/// Sets or turns bits of the packet mark.
pub(super) fn change_mark(mask: u32, xor: u32) -> [Expr; 3] {
    [
        Expr::Meta { key: MetaKey::Mark, to: KEY },
        Expr::bitwise(KEY, KEY, mask, xor),
        Expr::SetMeta { key: MetaKey::Mark, from: KEY },
    ]
}

/// Marks the packet for masquerading.
fn mark(bit: u32) -> [Expr; 3] {
    change_mark(!bit, bit)
}
