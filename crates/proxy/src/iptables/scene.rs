//! A node and its objects, for tests.

use serde_json::{Value, json};
use service::objects::{EndpointSlice, Service};
use service::{Changed, Cluster, Event, Family, Viewpoint};

use super::{Rules, compile};
use crate::xtables::Platform;
use crate::xtables::text::Tables;
use crate::{Config, NodeFacts, Sight};

/// A platform with all that kube-proxy's own tests assume.
pub(crate) const COUNTING: Platform =
    Platform { random_fully: false, counts_invalid: true, counts_localhost: true, conntrack_liberal: false };

/// A node and its objects.
pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) node: NodeFacts,
    pub(crate) config: Config,
}

impl Scene {
    pub(crate) fn new(objects: &[Value]) -> Self {
        let address = ["192.168.0.2".parse().unwrap()];
        let node = NodeFacts {
            viewpoint: Viewpoint { node: "test-node".into(), zone: None },
            addresses: address.to_vec(),
            interface_addresses: address.to_vec(),
            ..NodeFacts::default()
        };
        let pods = ["10.0.0.0/8", "fd00:10::/64"].map(|range| range.parse().unwrap());
        let config = Config { mode: crate::ModeName::Iptables, ..Config::new("test-node", pods.to_vec()) };
        let mut scene = Self { cluster: Cluster::new(), node, config };
        scene.apply(objects);
        scene
    }

    pub(crate) fn apply(&mut self, objects: &[Value]) -> Changed {
        let mut changed = Changed::new();
        for object in objects {
            match object["kind"].as_str() {
                Some("Service") => {
                    let service: Service = serde_json::from_value(object.clone()).unwrap();
                    self.cluster.service_event(Event::Apply(service), &mut changed);
                }
                _ => {
                    let slice: EndpointSlice = serde_json::from_value(object.clone()).unwrap();
                    self.cluster.slice_event(Event::Apply(slice), &mut changed);
                }
            }
        }
        changed
    }

    pub(crate) fn sight(&self) -> Sight<'_> {
        Sight { cluster: &self.cluster, node: &self.node, config: &self.config }
    }

    pub(crate) fn rules(&self) -> Rules {
        compile(&self.sight(), Family::V4, COUNTING)
    }

    pub(crate) fn tables(&self) -> Tables {
        self.rules().tables()
    }

    /// The rules of a chain.
    pub(crate) fn chain(&self, table: &str, chain: &str) -> Vec<String> {
        let tables = self.tables();
        let rules = tables.chain(table, chain).map(|chain| chain.rules.clone()).unwrap_or_default();
        rules.iter().map(ToString::to_string).collect()
    }
}

/// A Service with one port `p80`; what `fields` says is added to the object or put in place.
pub(crate) fn service(namespace: &str, name: &str, ip: &str, fields: Value) -> Value {
    let mut object = json!({
        "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": ip, "ports": [{"name": "p80", "port": 80, "protocol": "TCP"}]}
    });
    for (part, value) in fields.as_object().unwrap() {
        match value {
            Value::Object(fields) if object[part].is_object() => {
                fields.iter().for_each(|(field, value)| object[part][field] = value.clone());
            }
            value => object[part] = value.clone(),
        }
    }
    object
}

/// A slice of these endpoints (address, node), with the port `p80`.
pub(crate) fn slice(namespace: &str, service: &str, endpoints: &[(&str, Option<&str>)]) -> Value {
    let endpoints: Vec<_> =
        endpoints.iter().map(|(address, node)| json!({"addresses": [address], "nodeName": node})).collect();
    json!({
        "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": format!("{service}-1"), "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service}
        },
        "ports": [{"name": "p80", "port": 80, "protocol": "TCP"}], "endpoints": endpoints
    })
}
