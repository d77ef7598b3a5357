//! Packets that a cluster suggests.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use proxy::{Packet, Still};
use service::Family;
use service::objects::Protocol;

use crate::generate::NODE_IPS;

/// Senders of each sort: pods here and elsewhere (with the interface that pods here come in by), the node, its
/// loopback, clients in source ranges and in none, other nodes.
const SENDERS: [(&str, Option<&str>); 18] = [
    ("10.244.0.2", Some("cni0")),
    ("10.244.0.5", Some("veth7")),
    ("10.244.0.99", None),
    ("10.244.1.3", None),
    ("192.0.2.1", None),
    ("192.0.2.101", None),
    ("192.0.2.7", None),
    ("127.0.0.1", None),
    ("198.18.5.9", None),
    ("198.18.9.9", None),
    ("100.64.0.9", None),
    ("203.0.113.1", None),
    ("fd00:244::2", Some("cni0")),
    ("fd00:244:0:1::3", None),
    ("2001:db8::1", None),
    ("2001:db8:7::9", None),
    ("2001:db8:9::9", None),
    ("2001:db8:6::1", None),
];
/// Addresses of the range of cluster IPs that nobody has, and one that is no business of a proxy's.
const NOBODY: [&str; 4] = ["10.96.200.200", "fd00:96::fe00", "192.0.2.200", "2001:db8:99::1"];
/// The interface that others come in by.
const UPLINK: &str = "node0";
/// A port that no Service has.
const NO_PORT: u16 = 4444;

/// All packets from all senders to all destinations of the cluster.
pub fn packets(still: &Still) -> Vec<Packet> {
    let mut destinations: BTreeSet<(IpAddr, Protocol, u16)> = BTreeSet::new();
    let locals: Vec<IpAddr> =
        NODE_IPS.into_iter().chain(["127.0.0.1", "::1"]).filter_map(|text| text.parse().ok()).collect();
    for view in still.sight().all_ports() {
        let (protocol, port) = (view.port.protocol, view.port.port);
        let addresses =
            [view.cluster_ip].into_iter().chain(view.external_ips()).chain(view.load_balancer_ips());
        for address in addresses {
            destinations.insert((address, protocol, port));
            destinations.insert((address, protocol, NO_PORT));
            let other = if protocol == Protocol::Tcp { Protocol::Udp } else { Protocol::Tcp };
            destinations.insert((address, other, port));
        }
        if let Some(node_port) = view.port.node_port {
            let ours = locals.iter().filter(|address| Family::of(**address) == view.family);
            destinations.extend(ours.map(|address| (*address, protocol, node_port)));
        }
    }
    let nobody = NOBODY.iter().filter_map(|text| text.parse().ok());
    destinations.extend(nobody.map(|address: IpAddr| (address, Protocol::Tcp, 80)));
    let mut packets = Vec::new();
    for (address, protocol, port) in destinations {
        for (source, interface) in SENDERS {
            let Ok(source) = source.parse::<IpAddr>() else { continue };
            // Loopback talks to loopback; nobody else does.
            let possible = Family::of(source) == Family::of(address)
                && (!address.is_loopback() || source.is_loopback())
                && (!source.is_loopback() || address.is_loopback());
            if possible {
                let destination = SocketAddr::new(address, port);
                let local = source.is_loopback() || locals.contains(&source);
                let interface = interface.or_else(|| (!local).then_some(UPLINK)).map(str::to_owned);
                packets.push(Packet { source, destination, protocol, interface });
            }
        }
    }
    packets
}
