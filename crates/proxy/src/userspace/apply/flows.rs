//! UDP connections of the kernel that lead past the proxy ports: to those of an earlier process, or to none.
//!
//! The kernel translates all packets of a connection as it translated the first, so a client that goes on sending
//! would never come to a proxy port that opened since.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

use nfnetlink::Error;
use service::Family;
use service::objects::Protocol;

use crate::mode::Touched;
use crate::sight::{NodeFacts, Sight};
use crate::userspace::proxy_ports::{ProxyPort, ProxyPorts, Scope};

/// The destinations at which UDP clients reach some Services, each with its proxy ports.
#[derive(Debug, Default)]
struct Destinations {
    addresses: HashMap<SocketAddr, BTreeSet<u16>>,
    node_ports: HashMap<u16, BTreeSet<u16>>,
}

/// Forgets UDP connections of one family to the touched Services that no proxy port answers; returns how many.
pub(super) fn forget(
    sight: &Sight<'_>,
    touched: &Touched<'_>,
    proxy_ports: &ProxyPorts,
    family: Family,
) -> Result<usize, Error> {
    let destinations = Destinations::of(sight, touched, proxy_ports, family);
    if destinations.addresses.is_empty() {
        return Ok(0);
    }
    let mut socket = nfnetlink::Socket::open()?;
    let mut forgotten = 0;
    for flow in socket.flows(Protocol::Udp.number())? {
        if destinations.is_stale(flow.destination, flow.reply_source, sight.node) {
            socket.delete_flow(&flow)?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

impl Destinations {
    fn of(sight: &Sight<'_>, touched: &Touched<'_>, proxy_ports: &ProxyPorts, family: Family) -> Self {
        let mut destinations = Self::default();
        for name in touched.names(sight) {
            let views = sight.ports(&name);
            for view in
                views.iter().filter(|view| view.family == family && view.port.protocol == Protocol::Udp)
            {
                let targets =
                    [Scope::Cluster, Scope::Local].map(|scope| proxy_ports.get(&ProxyPort::of(view, scope)));
                let ports: BTreeSet<_> = targets.into_iter().flatten().map(|target| target.port).collect();
                let addresses = std::iter::once(view.cluster_ip)
                    .chain(view.external_ips())
                    .chain(view.load_balancer_ips());
                for address in addresses {
                    let at = SocketAddr::new(address, view.port.port);
                    destinations.addresses.entry(at).or_default().extend(&ports);
                }
                if let Some(node_port) = view.port.node_port {
                    destinations.node_ports.entry(node_port).or_default().extend(&ports);
                }
            }
        }
        destinations
    }

    /// Whether a connection to this destination is answered from where no proxy port is.
    fn is_stale(&self, destination: SocketAddr, answering: SocketAddr, node: &NodeFacts) -> bool {
        if let Some(ports) = self.addresses.get(&destination) {
            return !ports.contains(&answering.port());
        }
        // What only has the number of a NodePort is somebody else's, unless it is translated or goes to the node.
        let ours = answering != destination || node.is_local(destination.ip());
        let ports = self.node_ports.get(&destination.port()).filter(|_| ours);
        ports.is_some_and(|ports| !ports.contains(&answering.port()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_no_door_answers_are_stale() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let destinations = Destinations {
            addresses: [(at("10.96.0.10:53"), [40000].into())].into(),
            node_ports: [(30053, [40000].into())].into(),
        };
        let node = NodeFacts { addresses: vec!["192.0.2.1".parse().unwrap()], ..NodeFacts::default() };
        let stale = |front: &str, from: &str| destinations.is_stale(at(front), at(from), &node);
        for front in ["10.96.0.10:53", "192.0.2.1:30053"] {
            assert!(!stale(front, "192.0.2.1:40000"), "{front}");
            assert!(stale(front, "192.0.2.1:39999"), "{front}: of an earlier process");
            assert!(stale(front, front), "{front}: begun before there was a proxy port");
        }
        assert!(!stale("203.0.113.9:30053", "203.0.113.9:30053"), "somebody else's");
    }
}
