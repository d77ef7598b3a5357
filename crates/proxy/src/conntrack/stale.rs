//! UDP connections that lead to endpoints which do not serve any more, by the fronts they came in at.
//!
//! The rules are kube-proxy's (`pkg/proxy/conntrack`): policies and hints do not count, an endpoint that serves
//! keeps its connections; a front without any endpoint is left alone.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use nfnetlink::{Error, Socket};
use service::objects::Protocol;
use service::{Family, PortView};

use crate::sight::NodeFacts;

/// Where UDP connections of a Service port come in, and where they may lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Front {
    /// Cluster IP, external IPs and load balancer addresses, each with the port.
    addresses: Vec<SocketAddr>,
    /// NodePort.
    node_port: Option<(Family, u16)>,
    /// Endpoints that serve.
    serving: Vec<SocketAddr>,
}

impl Front {
    /// The front of a UDP port; `None` for other protocols.
    pub(crate) fn of(view: &PortView<'_>) -> Option<Self> {
        (view.port.protocol == Protocol::Udp).then(|| Self {
            addresses: std::iter::once(view.cluster_ip)
                .chain(view.external_ips())
                .chain(view.load_balancer_ips())
                .map(|address| SocketAddr::new(address, view.port.port))
                .collect(),
            node_port: view.port.node_port.map(|port| (view.family, port)),
            serving: view.serving.clone(),
        })
    }
}

/// Forgets connections that came in at these fronts and lead nowhere; returns how many. `node` knows its own addresses.
///
/// # Errors
/// Those of the connection table's dump and of deleting from it.
pub(crate) fn forget<'a>(
    socket: &mut Socket,
    fronts: impl IntoIterator<Item = &'a Front>,
    node: &NodeFacts,
) -> Result<usize, Error> {
    let destinations = Destinations::of(fronts);
    if destinations.is_empty() {
        return Ok(0);
    }
    let mut forgotten = 0;
    for flow in socket.flows(Protocol::Udp.number())? {
        if destinations.leads_nowhere(flow.destination, flow.reply_source, node) {
            socket.delete_flow(&flow)?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

/// Says that connections were not forgotten, which only leaves them to time out; rules are as they should be.
pub(crate) fn not_forgotten(error: Error) -> usize {
    tracing::warn!(%error, "UDP connections to endpoints that are gone were not forgotten");
    0
}

/// The endpoints behind each address and NodePort.
#[derive(Default)]
struct Destinations<'a> {
    addresses: HashMap<SocketAddr, HashSet<&'a SocketAddr>>,
    node_ports: HashMap<(Family, u16), HashSet<&'a SocketAddr>>,
}

impl<'a> Destinations<'a> {
    fn of(fronts: impl IntoIterator<Item = &'a Front>) -> Self {
        let mut destinations = Self::default();
        for front in fronts.into_iter().filter(|front| !front.serving.is_empty()) {
            for address in &front.addresses {
                destinations.addresses.entry(*address).or_default().extend(&front.serving);
            }
            if let Some(node_port) = front.node_port {
                destinations.node_ports.entry(node_port).or_default().extend(&front.serving);
            }
        }
        destinations
    }

    fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// Whether a connection to this destination is answered by somebody who does not serve it.
    fn leads_nowhere(&self, destination: SocketAddr, answering: SocketAddr, node: &NodeFacts) -> bool {
        if let Some(serving) = self.addresses.get(&destination) {
            return !serving.contains(&answering);
        }
        // What only has the number of a NodePort is somebody else's, unless it is translated or goes to the node.
        let ours = answering != destination || node.is_local(destination.ip());
        let node_port = self.node_ports.get(&(Family::of(destination.ip()), destination.port()));
        ours && node_port.is_some_and(|serving| !serving.contains(&answering))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn front(addresses: &[&str], node_port: Option<u16>, serving: &[&str]) -> Front {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Front {
            addresses: parse(addresses),
            node_port: node_port.map(|port| (Family::V4, port)),
            serving: parse(serving),
        }
    }

    fn stale(front: &Front, destination: &str, answering: &str) -> bool {
        let node = NodeFacts { addresses: vec!["192.0.2.1".parse().unwrap()], ..NodeFacts::default() };
        Destinations::of([front]).leads_nowhere(
            destination.parse().unwrap(),
            answering.parse().unwrap(),
            &node,
        )
    }

    #[test]
    fn a_connection_to_an_endpoint_that_serves_no_more_is_forgotten() {
        let front = front(&["10.96.0.10:53", "192.0.2.9:53"], Some(30053), &["10.244.0.2:5353"]);
        for destination in ["10.96.0.10:53", "192.0.2.9:53", "192.0.2.1:30053"] {
            assert!(stale(&front, destination, "10.244.0.3:5353"), "{destination}");
            assert!(!stale(&front, destination, "10.244.0.2:5353"), "{destination}");
        }
        assert!(stale(&front, "10.96.0.10:53", "10.96.0.10:53"), "begun before there were endpoints");
        assert!(!stale(&front, "10.96.0.11:53", "10.244.0.3:5353"), "another Service's");
    }

    #[test]
    fn an_untranslated_connection_to_the_number_of_a_node_port_is_somebody_elses() {
        let front = front(&["10.96.0.10:53"], Some(30053), &["10.244.0.2:5353"]);
        assert!(!stale(&front, "203.0.113.5:30053", "203.0.113.5:30053"));
        assert!(stale(&front, "192.0.2.1:30053", "192.0.2.1:30053"), "begun before there was a Service");
    }

    #[test]
    fn connections_of_a_service_without_endpoints_are_left_alone() {
        assert!(!stale(&front(&["10.96.0.10:53"], None, &[]), "10.96.0.10:53", "10.244.0.3:5353"));
    }
}
