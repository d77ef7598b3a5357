//! Clusters for tests: random but valid ones, and packets to them.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};
use service::objects::Protocol;
use service::{Changed, Cluster, Event, Viewpoint};

use crate::{Config, NodeFacts, NodePortAddresses, Packet, Sight};

const NODE: &str = "192.168.0.2";
const NODE6: &str = "fd00:1::2";

/// A node that looks at a cluster.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) node: NodeFacts,
    pub(crate) config: Config,
}

impl Scene {
    /// A cluster of these objects, seen from a node with pods in 10.0.0.0/8 and fd00:10::/64.
    pub(crate) fn new(objects: &[Value]) -> Self {
        let addresses = [NODE, NODE6].map(|address| address.parse().unwrap());
        let node = NodeFacts {
            viewpoint: Viewpoint { node: "test-node".into(), zone: None },
            addresses: addresses.to_vec(),
            interface_addresses: addresses.to_vec(),
            service_cidrs: ["172.30.0.0/16", "fd00:10:96::/112"].map(|range| range.parse().unwrap()).to_vec(),
            ..NodeFacts::default()
        };
        let pods = ["10.0.0.0/8", "fd00:10::/64"].map(|range| range.parse().unwrap());
        let config = Config {
            node_port_addresses: Some(NodePortAddresses::Primary),
            ..Config::new("test-node", pods.to_vec())
        };
        let mut scene = Self { cluster: Cluster::new(), node, config };
        objects.iter().for_each(|object| drop(scene.apply(object)));
        scene
    }

    /// Takes in an object.
    pub(crate) fn apply(&mut self, object: &Value) -> Changed {
        let mut changed = Changed::new();
        match object["kind"].as_str() {
            Some("Service") => {
                let service = serde_json::from_value(object.clone()).unwrap();
                self.cluster.service_event(Event::Apply(service), &mut changed);
            }
            _ => {
                let slice = serde_json::from_value(object.clone()).unwrap();
                self.cluster.slice_event(Event::Apply(slice), &mut changed);
            }
        }
        changed
    }

    pub(crate) fn sight(&self) -> Sight<'_> {
        Sight { cluster: &self.cluster, node: &self.node, config: &self.config }
    }
}

/// Numbers that look random and are the same each time (xorshift).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn one<T: Clone>(&mut self, things: &[T]) -> T {
        things[self.below(things.len() as u64) as usize].clone()
    }

    /// A Service with this number and its slices, one of each family.
    pub(crate) fn service(&mut self, number: u64) -> Vec<Value> {
        let name = format!("svc{number}");
        let protocol = self.one(&["TCP", "UDP", "SCTP"]);
        let kind = self.one(&["ClusterIP", "NodePort", "LoadBalancer"]);
        let port = match kind {
            "ClusterIP" => json!([{"name": "p", "port": 80, "protocol": protocol}]),
            _ => json!([{"name": "p", "port": 80, "protocol": protocol, "nodePort": 30_000 + number}]),
        };
        let mut spec = json!({
            "type": kind, "ports": port, "clusterIP": format!("172.30.0.{number}"),
            "clusterIPs": [format!("172.30.0.{number}"), format!("fd00:10:96::{number:x}")],
            "internalTrafficPolicy": self.one(&["Cluster", "Local"]),
            "sessionAffinity": self.one(&["None", "None", "ClientIP"]),
        });
        if kind != "ClusterIP" {
            spec["externalTrafficPolicy"] = self.one(&["Cluster", "Local"]).into();
        }
        if self.below(3) == 0 {
            spec["externalIPs"] = json!([format!("192.168.99.{number}"), format!("fd00:99::{number:x}")]);
        }
        if kind == "LoadBalancer" && self.below(2) == 0 {
            spec["loadBalancerSourceRanges"] = self
                .one(&[json!(["203.0.113.0/25"]), json!(["192.168.0.0/24", "10.0.0.0/9", "fd00:10::/65"])]);
        }
        let mut service =
            json!({"kind": "Service", "metadata": {"name": name, "namespace": "ns"}, "spec": spec});
        if kind == "LoadBalancer" {
            service["status"] = json!({"loadBalancer": {"ingress": [
                {"ip": format!("5.6.7.{number}")}, {"ip": format!("fd00:56::{number:x}")}
            ]}});
        }
        let mut objects = vec![service];
        for (family, prefix) in [("IPv4", "10.180.0."), ("IPv6", "fd00:10::b4:")] {
            let count = self.below(4);
            let endpoints: Vec<_> = (0..count)
                .map(|index| {
                    let address = format!("{prefix}{}", 10 + 4 * number + index);
                    let ready = self.below(4) != 0;
                    json!({"addresses": [address], "nodeName": self.one(&["test-node", "other"]),
                        "conditions": {"ready": ready, "serving": true, "terminating": !ready}})
                })
                .collect();
            objects.push(json!({
                "kind": "EndpointSlice", "addressType": family, "endpoints": endpoints,
                "metadata": {"name": format!("{name}-{family}").to_lowercase(), "namespace": "ns",
                    "labels": {"kubernetes.io/service-name": name}},
                "ports": [{"name": "p", "port": 8080, "protocol": protocol}],
            }));
        }
        objects
    }
}

/// Packets of all kinds of clients to all addresses of Services with numbers below this.
pub(crate) fn packets(services: u64) -> Vec<Packet> {
    let mut packets = Vec::new();
    for number in 0..=services {
        let v4 = [
            (format!("172.30.0.{number}"), 80),
            (format!("172.30.0.{number}"), 81),
            (format!("192.168.99.{number}"), 80),
            (format!("5.6.7.{number}"), 80),
            (NODE.to_owned(), 30_000 + number as u16),
        ];
        let v6 = [
            (format!("fd00:10:96::{number:x}"), 80),
            (format!("fd00:99::{number:x}"), 80),
            (format!("fd00:56::{number:x}"), 80),
            (NODE6.to_owned(), 30_000 + number as u16),
        ];
        let sources = ["10.0.0.2", "10.180.0.14", "10.200.0.3", "203.0.113.2", "203.0.113.130", NODE];
        let sources6 = ["fd00:10::3", "fd00:10::b4:14", "fd00:77::1", NODE6];
        let pairs = sources.iter().flat_map(|source| v4.iter().map(move |to| (*source, to)));
        let pairs6 = sources6.iter().flat_map(|source| v6.iter().map(move |to| (*source, to)));
        for (source, (address, port)) in pairs.chain(pairs6) {
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
                let destination = SocketAddr::new(address.parse::<IpAddr>().unwrap(), *port);
                packets.push(Packet {
                    source: source.parse().unwrap(),
                    destination,
                    protocol,
                    interface: None,
                });
            }
        }
    }
    packets
}
