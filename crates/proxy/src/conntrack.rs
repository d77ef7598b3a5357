//! UDP connections to endpoints that are gone.
//!
//! The kernel translates all packets of a connection as it translated the first, and a UDP connection lasts
//! while packets come. So a client that goes on sending would never leave a dead endpoint
//! (kube-proxy's pkg/proxy/conntrack does the same; TCP and SCTP end by themselves).

pub(crate) mod room;
pub(crate) mod stale;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use nfnetlink::{Error, Socket};
use service::Family;
use service::objects::Protocol;

use crate::nftables::{Change, Front, FrontValue, Ruleset};

/// Whether these changes may have left connections behind.
pub(crate) fn concerned(changes: &[Change]) -> bool {
    changes.iter().any(|change| match change {
        Change::Front { front, old, new } if front.protocol() == Protocol::Udp => {
            let serving = |value: &Option<std::sync::Arc<FrontValue>>| {
                value.as_ref().map(|value| value.serving.clone()).unwrap_or_default()
            };
            let now: HashSet<_> = serving(new).iter().copied().collect();
            // A front seen for the first time may have been another proxy's, or ours before a restart.
            old.is_none() || serving(old).iter().any(|endpoint| !now.contains(endpoint))
        }
        _ => false,
    })
}

/// Forgets the connections that the changes left behind; returns how many. `own` are the node's addresses.
pub(crate) fn forget(
    socket: &mut Socket,
    ruleset: &Ruleset,
    changes: &[Change],
    own: &[IpAddr],
) -> Result<usize, Error> {
    let gone: HashSet<Front> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Front { front, new: None, .. } => Some(*front),
            _ => None,
        })
        .collect();
    let mut forgotten = 0;
    for flow in socket.flows(Protocol::Udp.number())? {
        if is_stale(ruleset, &gone, own, flow.destination, flow.reply_source) {
            socket.delete_flow(&flow)?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

/// Whether a UDP connection to this destination is answered by somebody who does not serve it.
fn is_stale(
    ruleset: &Ruleset,
    gone: &HashSet<Front>,
    own: &[IpAddr],
    destination: SocketAddr,
    answering: SocketAddr,
) -> bool {
    fronts(Protocol::Udp, destination).into_iter().any(|front| match ruleset.front(&front) {
        _ if is_foreign(&front, own, destination, answering) => false,
        Some(value) => !value.serving.contains(&answering),
        None => gone.contains(&front),
    })
}

/// The fronts at which a packet to this destination may have knocked: an address of a Service (cluster IP, external
/// IP, load balancer's), or a NodePort.
pub(crate) fn fronts(protocol: Protocol, destination: SocketAddr) -> [Front; 2] {
    let (address, port) = (destination.ip(), destination.port());
    [
        Front::ServiceIp { address, protocol, port },
        Front::NodePort { family: Family::of(address), protocol, port },
    ]
}

/// Whether a connection only has the number of a node port: one that is not translated is the node's if it goes to
/// the node.
pub(crate) fn is_foreign(
    front: &Front,
    own: &[IpAddr],
    destination: SocketAddr,
    answering: SocketAddr,
) -> bool {
    let untranslated = answering == destination && !own.contains(&destination.ip());
    matches!(front, Front::NodePort { .. }) && untranslated
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::iptables::scene::{service, slice};
    use crate::nftables::scene::Scene;
    use crate::nftables::{balance::Load, compile};

    /// A UDP Service with every kind of front and one endpoint.
    fn ruleset() -> Ruleset {
        let port = json!([{"name": "p80", "port": 53, "protocol": "UDP", "nodePort": 30053}]);
        let fields = json!({
            "spec": {"type": "LoadBalancer", "ports": port, "externalIPs": ["192.0.2.9"]},
            "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.9"}]}},
        });
        let mut endpoints = slice("ns1", "dns", &[("10.180.0.1", None)]);
        endpoints["ports"] = json!([{"name": "p80", "port": 5353, "protocol": "UDP"}]);
        let scene = Scene::new(&[service("ns1", "dns", "172.30.0.10", fields), endpoints]);
        let name = service::ServiceName::new("ns1", "dns");
        let mut ruleset = Ruleset::new();
        let ports = scene.sight().ports(&name);
        ruleset.replace(&name, compile(&ports, &scene.node, &Load::default(), None));
        ruleset
    }

    fn stale(destination: &str, answering: &str) -> bool {
        let own = ["192.168.0.2".parse().unwrap()];
        let (destination, answering) = (destination.parse().unwrap(), answering.parse().unwrap());
        is_stale(&ruleset(), &HashSet::new(), &own, destination, answering)
    }

    /// The address that each kind of front has.
    const FRONTS: [&str; 4] = ["172.30.0.10:53", "192.0.2.9:53", "198.51.100.9:53", "192.168.0.2:30053"];

    #[test]
    fn a_connection_to_an_endpoint_that_serves_no_more_is_forgotten_at_every_front() {
        for front in FRONTS {
            assert!(stale(front, "10.180.0.2:5353"), "{front}");
            assert!(!stale(front, "10.180.0.1:5353"), "{front}");
        }
    }

    #[test]
    fn a_connection_that_began_without_rules_is_forgotten_at_every_front() {
        for front in FRONTS {
            assert!(stale(front, front), "{front}");
        }
    }

    #[test]
    fn what_only_has_the_number_of_a_node_port_is_left_alone() {
        assert!(!stale("203.0.113.5:30053", "203.0.113.5:30053"));
        assert!(!stale("192.0.2.9:5353", "192.0.2.9:5353"));
    }
}
