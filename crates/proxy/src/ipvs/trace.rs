//! Walks packets through what a kernel holds: the chains with their sets, and the virtual servers.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use nfnetlink::ipset::{Entry, SetType};
use nfnetlink::ipvs::Front;
use service::Cidr;

use super::fragment::Server;
use super::state::State;
use crate::packet::{Branch, Packet, Tracer, Untraceable};
use crate::sight::NodeFacts;
use crate::xtables::trace::{self, Direction, Lookup};

/// Schedulers that do not look at weights, except that a weight of 0 gets nothing.
const UNWEIGHTED: [&str; 4] = ["rr", "lc", "sh", "dh"];

/// What one family has, ready to be walked.
#[derive(Debug)]
pub struct Walker {
    walker: trace::Walker,
    node: NodeFacts,
    /// Addresses of our interface.
    addresses: BTreeSet<IpAddr>,
}

impl Walker {
    /// Reads the state once.
    pub fn new(state: &State, node: &NodeFacts) -> Self {
        let addresses = state.addresses.clone();
        let mut node = node.clone();
        node.interface_addresses.extend(&addresses);
        let sets: HashMap<_, _> = state
            .sets
            .iter()
            .map(|(set, entries)| {
                let ip_set = set.ip_set(state.family);
                (ip_set.name, (ip_set.kind, entries.iter().copied().collect::<HashSet<_>>()))
            })
            .collect();
        let in_set = move |lookup: &Lookup<'_>| {
            let (kind, entries) = sets.get(lookup.set)?;
            is_in(*kind, entries, lookup)
        };
        let servers: HashMap<_, _> =
            state.servers.iter().map(|(front, server)| (*front, shares(server))).collect();
        let real = move |address: SocketAddr, protocol: service::objects::Protocol| {
            servers.get(&Front { address, protocol: protocol.number() }).cloned()
        };
        let walker = trace::Walker::new(&state.tables, &node)
            .with_sets(Arc::new(in_set))
            .with_virtual_servers(Arc::new(real));
        Self { walker, node, addresses }
    }
}

impl Tracer for Walker {
    fn trace(&self, packet: &Packet) -> Result<Vec<Branch>, Untraceable> {
        let mut packet = packet.clone();
        // The node asks an address of its own from that address, unless a process says otherwise.
        if self.node.is_local(packet.source) && self.addresses.contains(&packet.destination.ip()) {
            packet.source = packet.destination.ip();
        }
        self.walker.trace(&packet)
    }
}

/// Whether the kernel's scheduler of this name gives more to a real server with more weight.
pub(crate) fn looks_at_weights(scheduler: &str) -> bool {
    !UNWEIGHTED.contains(&scheduler)
}

/// Real servers with their shares of connections.
fn shares(server: &Server) -> Vec<(SocketAddr, f64)> {
    let weighted = looks_at_weights(&server.sharing.scheduler);
    let share = |weight: u32| if weighted { f64::from(weight) } else { f64::from(weight.min(1)) };
    let all: f64 = server.real.values().map(|weight| share(*weight)).sum();
    let taking = server.real.iter().filter(|(_, weight)| **weight > 0);
    taking.map(|(address, weight)| (*address, share(*weight) / all)).collect()
}

/// Whether a packet is in a set; `None` if the set cannot be asked so.
fn is_in(kind: SetType, entries: &HashSet<Entry>, lookup: &Lookup<'_>) -> Option<bool> {
    let address = |place: usize| {
        Some(match lookup.directions.get(place)? {
            Direction::Source => lookup.source,
            Direction::Destination => lookup.destination.ip(),
        })
    };
    let port = |place: usize| match lookup.directions.get(place)? {
        Direction::Source => None,
        Direction::Destination => Some(lookup.destination.port()),
    };
    let protocol = lookup.protocol.number();
    let entry = match kind {
        SetType::BitmapPort => Entry::Port(port(0)?),
        SetType::HashIp => Entry::Ip(address(0)?),
        SetType::HashIpPort => Entry::IpPort(address(0)?, protocol, port(1)?),
        SetType::HashIpPortIp => Entry::IpPortIp(address(0)?, protocol, port(1)?, address(2)?),
        SetType::HashIpPortNet => {
            let (front, from) = ((address(0)?, protocol, port(1)?), address(2)?);
            return Some(entries.iter().any(|entry| match entry {
                Entry::IpPortNet(address, protocol, port, net, prefix) => {
                    (*address, *protocol, *port) == front
                        && Cidr::new(*net, *prefix).is_some_and(|range| range.contains(from))
                }
                _ => false,
            }));
        }
    };
    Some(entries.contains(&entry))
}
