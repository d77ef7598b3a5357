//! What the kernel holds, to be compared with what is wanted.

use std::collections::{BTreeMap, BTreeSet};

use nfnetlink::ipvs::Ipvs;
use nfnetlink::{Dummy, Socket};
use service::Family;

use super::failure::Failure;
use super::half;
use crate::iptables;
use crate::ipvs::fragment::Server;
use crate::ipvs::sets::Set;
use crate::ipvs::state::INTERFACE;
use crate::ipvs::state::State;
use crate::sight::NodeFacts;
use crate::xtables;
use crate::xtables::Place;

/// What the kernel holds of one family: virtual servers at addresses of our interface and at NodePorts of the node,
/// our sets and addresses, and all tables of iptables.
///
/// # Errors
/// [`Failure`] says what the kernel or a program lacks.
pub fn held(place: &Place, family: Family, node: &NodeFacts) -> Result<State, Failure> {
    let tables = iptables::held(place, family)?;
    let of_kernel = place.run(|| {
        let mut socket = Socket::open()?;
        let mut state = State {
            family,
            servers: BTreeMap::new(),
            sets: BTreeMap::new(),
            addresses: match Dummy::find(INTERFACE)? {
                Some(mut interface) => interface.addresses()?.into_iter().collect(),
                None => BTreeSet::new(),
            },
            tables: xtables::text::Tables::new(),
        };
        state.addresses.retain(|address| Family::of(*address) == family);
        for set in Set::all() {
            let entries = socket.ipset_entries(&set.ip_set(family)).map_err(Failure::NoSets)?;
            state.sets.extend(entries.map(|entries| (set, entries.into_iter().collect())));
        }
        let ports = half::node_ports(&mut socket, family)?;
        let mut ipvs = Ipvs::open().map_err(Failure::opening)?;
        for server in ipvs.virtual_servers()? {
            let (front, ip) = (server.front, server.front.address.ip());
            let node_port = ports.contains(&(front.protocol, front.address.port())) && node.is_local(ip);
            if Family::of(ip) == family && (state.addresses.contains(&ip) || node_port) {
                let real = ipvs.real_servers(&front)?.into_iter();
                let real = real.map(|held| (held.server.address, held.server.weight)).collect();
                state.servers.insert(front, Server { sharing: server.sharing, real });
            }
        }
        Ok::<_, Failure>(state)
    })??;
    Ok(State { tables, ..of_kernel })
}
