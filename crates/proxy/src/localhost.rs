//! NodePorts at 127.0.0.1 and ::1 for nftables mode (KEP-6032).
//!
//! Packets from loopback addresses cannot leave the node without loosening the kernel's checks, so rules do not send
//! them on. TCP connections are taken by the proxy of userspace mode; UDP and SCTP stay refused by the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use service::objects::Protocol;
use service::{Client, Entrance, Family, Outcome, ServiceName};

use crate::mode::Touched;
use crate::sight::Sight;
pub(crate) use crate::userspace::proxy::ListenerCounts;
use crate::userspace::proxy::{Behind, Pool, Proxy, Serving};

/// The listeners of all Services.
#[derive(Debug, Default)]
pub struct Localhost {
    services: BTreeMap<ServiceName, BTreeMap<SocketAddr, Listener>>,
    /// Started for the first listener.
    proxy: Option<Proxy>,
    listener_counts: Arc<ListenerCounts>,
}

/// One listener. It ends when dropped; connections that came in go on.
#[derive(Debug)]
struct Listener {
    pool: Arc<Pool>,
    _serving: Serving,
}

impl Localhost {
    /// No listener.
    pub fn new() -> Self {
        Self::default()
    }

    /// No listener so far; those to come are counted here.
    pub(crate) fn counted(listener_counts: Arc<ListenerCounts>) -> Self {
        Self { listener_counts, ..Self::default() }
    }

    /// Ends all listeners. Connections that came in go on while the process does.
    pub(crate) fn retire(self) {
        drop(self.services);
        self.proxy.into_iter().for_each(Proxy::retire);
    }

    /// Starts, stops and informs the listeners of the Services that were touched, in the network namespace of the
    /// thread that calls first. A port that is taken is logged, and tried again until it is free.
    pub fn follow(&mut self, sight: &Sight<'_>, touched: &Touched<'_>) {
        let mut names: BTreeSet<_> = touched.names(sight);
        if matches!(touched, Touched::Everything) {
            names.extend(self.services.keys().cloned());
        }
        for name in names {
            let mut old = self.services.remove(&name).unwrap_or_default();
            let mut listeners = BTreeMap::new();
            for (address, behind) in wanted(sight, &name) {
                let listener = match old.remove(&address) {
                    Some(listener) => {
                        listener.pool.replace(behind);
                        Some(listener)
                    }
                    None => self.listen(address, behind),
                };
                listeners.extend(listener.map(|listener| (address, listener)));
            }
            if !listeners.is_empty() {
                self.services.insert(name, listeners);
            }
        }
    }

    fn listen(&mut self, address: SocketAddr, behind: Behind) -> Option<Listener> {
        let proxy = match &self.proxy {
            Some(proxy) => proxy,
            None => match Proxy::start() {
                Ok(proxy) => self.proxy.insert(proxy),
                Err(error) => {
                    tracing::error!(%address, %error, "a NodePort at localhost is not served: its proxy cannot be started");
                    return None;
                }
            },
        };
        let pool = Arc::new(Pool::new(behind));
        Some(Listener {
            _serving: proxy.serve_tcp_at(
                address,
                pool.clone(),
                self.listener_counts.of(Family::of(address.ip())),
            ),
            pool,
        })
    }
}

/// Where a Service is to be served, and by whom: as for processes of the node. A NodePort without endpoints is not
/// listened at, so that the kernel refuses its clients.
fn wanted(sight: &Sight<'_>, name: &ServiceName) -> BTreeMap<SocketAddr, Behind> {
    let mut wanted = BTreeMap::new();
    for view in sight.ports(name) {
        let node_port = view.port.node_port.filter(|_| view.port.protocol == Protocol::Tcp);
        let answer = view.choice.answer(Entrance::External, Client::Node);
        if let (Some(port), Outcome::Serve(list), true) =
            (node_port, answer.outcome, opens(sight, view.family))
        {
            wanted.insert(SocketAddr::new(loopback(view.family), port), Behind::of(&view, list));
        }
    }
    wanted
}

fn loopback(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::LOCALHOST.into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Whether NodePorts are open at a family's loopback address: unless they are switched off, or restricted to other
/// addresses.
fn opens(sight: &Sight<'_>, family: Family) -> bool {
    // That only the primary address is open in this mode if nobody says so is said of addresses that others reach.
    let named = sight.config.node_port_addresses.as_ref().and_then(|given| given.names(loopback(family)));
    sight.config.localhost_node_ports && named.unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::NodePortAddresses;
    use crate::iptables::scene::{Scene, service, slice};

    fn addresses(spec: Value, change: impl Fn(&mut Scene)) -> Vec<String> {
        let mut fields =
            json!({"type": "NodePort", "ports": [{"name": "p80", "port": 80, "nodePort": 3001}]});
        spec.as_object().unwrap().iter().for_each(|(field, value)| fields[field] = value.clone());
        let endpoints = slice("ns1", "svc1", &[("10.180.1.1", Some("other"))]);
        let mut scene =
            Scene::new(&[service("ns1", "svc1", "172.30.0.41", json!({"spec": fields})), endpoints]);
        change(&mut scene);
        let wanted = wanted(&scene.sight(), &ServiceName::new("ns1", "svc1"));
        wanted.keys().map(ToString::to_string).collect()
    }

    fn restricted(ranges: &[&str]) -> Vec<String> {
        let ranges: Vec<_> = ranges.iter().map(|range| range.parse().unwrap()).collect();
        addresses(json!({}), |scene| {
            scene.config.node_port_addresses = Some(NodePortAddresses::Ranges(ranges.clone()));
        })
    }

    #[test]
    fn node_ports_are_open_at_localhost_unless_switched_off_or_restricted_to_other_addresses() {
        assert_eq!(addresses(json!({}), |_| ()), ["127.0.0.1:3001"]);
        assert_eq!(addresses(json!({}), |scene| scene.config.localhost_node_ports = false), [""; 0]);
        let primary = |scene: &mut Scene| scene.config.node_port_addresses = Some(NodePortAddresses::Primary);
        assert_eq!(addresses(json!({}), primary), [""; 0]);
        let both = |scene: &mut Scene| {
            let ranges = vec!["127.0.0.0/8".parse().unwrap()];
            scene.config.node_port_addresses = Some(NodePortAddresses::PrimaryAnd(ranges));
        };
        assert_eq!(addresses(json!({}), both), ["127.0.0.1:3001"]);
        assert_eq!(restricted(&["192.168.0.0/16"]), [""; 0]);
        assert_eq!(restricted(&["192.168.0.0/16", "127.0.0.0/8"]), ["127.0.0.1:3001"]);
        assert_eq!(restricted(&["fd00::/8"]), ["127.0.0.1:3001"]);
    }

    #[test]
    fn external_traffic_policy_local_does_not_concern_the_node_itself() {
        assert_eq!(addresses(json!({"externalTrafficPolicy": "Local"}), |_| ()), ["127.0.0.1:3001"]);
    }

    #[test]
    fn only_tcp_with_endpoints_is_listened_at() {
        let udp = json!({"ports": [{"name": "p80", "port": 80, "nodePort": 3001, "protocol": "UDP"}]});
        assert_eq!(addresses(udp, |_| ()), [""; 0]);
        let gone = |scene: &mut Scene| {
            scene.apply(&[slice("ns1", "svc1", &[])]);
        };
        assert_eq!(addresses(json!({}), gone), [""; 0]);
    }
}
