//! Connections that began while the rules were not there.
//!
//! The kernel treats all packets of a connection as it treated the first. One that began when nobody translated goes
//! nowhere for minutes, and so does every later one from the same port. Forgotten, its next packet, which TCP sends
//! again after a second, finds an endpoint. One that somebody answered is left alone, whoever that was. (UDP is looked
//! after with the endpoints that are gone.)

use std::net::{IpAddr, SocketAddr};

use nfnetlink::{Error, Socket};
use service::objects::Protocol;

use crate::conntrack::{fronts, is_foreign};
use crate::nftables::ruleset::Ruleset;
use crate::nftables::wish::Way;

/// Forgets connections to Services that were not translated though there are endpoints, and that nobody answered;
/// returns how many. `own` are the node's addresses.
pub(super) fn forget_untranslated(
    socket: &mut Socket,
    ruleset: &Ruleset,
    own: &[IpAddr],
) -> Result<usize, Error> {
    let mut forgotten = 0;
    for protocol in [Protocol::Tcp, Protocol::Sctp] {
        let lost = socket.lost_flows(protocol.number())?;
        for flow in lost.iter().filter(|flow| is_served(ruleset, own, protocol, flow.destination)) {
            socket.delete_flow(flow)?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

/// Whether there are endpoints for this destination, to which the packet was not translated.
fn is_served(ruleset: &Ruleset, own: &[IpAddr], protocol: Protocol, destination: SocketAddr) -> bool {
    fronts(protocol, destination).iter().any(|front| {
        let value = ruleset.front(front).filter(|_| !is_foreign(front, own, destination, destination));
        value.is_some_and(|value| matches!(value.way, Way::Serve { .. } | Way::Split { .. }))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use service::ServiceName;

    use super::*;
    use crate::iptables::scene::{service, slice};
    use crate::nftables::scene::Scene;
    use crate::nftables::{balance::Load, compile};

    #[test]
    fn a_connection_is_lost_at_every_front_that_has_endpoints() {
        let fields = json!({
            "spec": {
                "type": "LoadBalancer", "externalIPs": ["192.0.2.9"],
                "ports": [{"name": "p80", "port": 80, "nodePort": 30080}],
            },
            "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.9"}]}},
        });
        let mut scene = Scene::new(&[service("ns1", "web", "172.30.0.10", fields)]);
        let served = |scene: &Scene, destination: &str| {
            let name = ServiceName::new("ns1", "web");
            let mut ruleset = Ruleset::new();
            let fragment = compile(&scene.sight().ports(&name), &scene.node, &Load::default(), None);
            ruleset.replace(&name, fragment);
            is_served(&ruleset, &scene.node.addresses, Protocol::Tcp, destination.parse().unwrap())
        };
        let fronts = ["172.30.0.10:80", "192.0.2.9:80", "198.51.100.9:80", "192.168.0.2:30080"];
        assert!(fronts.iter().all(|front| !served(&scene, front)), "there are no endpoints");
        scene.apply(&slice("ns1", "web", &[("10.180.0.1", None)]));
        assert!(fronts.iter().all(|front| served(&scene, front)));
        assert!(!served(&scene, "203.0.113.5:30080") && !served(&scene, "192.0.2.9:81"));
    }
}
