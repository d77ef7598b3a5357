//! A node with two pods, a client outside, and the proxy's rules; no API server.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;

use proxy::nftables::{Kernel, Nftables};
use proxy::{Config, Mode, NodeFacts, NodePortAddresses, Report, Sight, Touched};
use serde_json::{Value, json};
use service::objects::{EndpointSlice, Service};
use service::{Changed, Cluster, Event, Viewpoint};

use crate::namespace::{Namespace, join};
use crate::server::{Answer, ask, serve};

pub(crate) const NODE: &str = "192.0.2.1";
pub(crate) const CLIENT: &str = "192.0.2.2";
pub(crate) const POD1: &str = "10.244.1.2";
pub(crate) const POD2: &str = "10.244.2.2";
pub(crate) const POD1_V6: &str = "fd00:244:1::2";
pub(crate) const POD2_V6: &str = "fd00:244:2::2";
const CLIENT_V6: &str = "2001:db8::2";
/// The port that the pods serve.
pub(crate) const TARGET: u16 = 80;

/// Makes the proxy's mode for a node.
pub(crate) type MakeMode = fn(&Namespace) -> Box<dyn Mode>;

pub(crate) struct Scene {
    pub(crate) node: Namespace,
    pub(crate) pod1: Namespace,
    pub(crate) pod2: Namespace,
    pub(crate) client: Namespace,
    cluster: Cluster,
    changed: Changed,
    make_mode: MakeMode,
    mode: Box<dyn Mode>,
    /// Where the mode waits for what others do.
    runtime: tokio::runtime::Runtime,
    pub(crate) node_facts: NodeFacts,
    config: Config,
}

impl Scene {
    /// `None`, with a printed sentence, when not root.
    pub(crate) fn new() -> Option<Self> {
        Self::in_nftables_mode(config())
    }

    /// The same with another configuration.
    pub(crate) fn in_nftables_mode(config: Config) -> Option<Self> {
        Self::in_mode(nftables, config)
    }

    /// The same with another mode.
    pub(crate) fn in_mode(make_mode: MakeMode, config: Config) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: making network namespaces needs root");
            return None;
        }
        let [node, pod1, pod2, client] = ["node", "pod1", "pod2", "client"].map(Namespace::new);
        // A pod that meets itself gets an ICMP redirect otherwise, which uses up the kernel's allowance of ICMP errors
        // for that pod.
        node.sysctl("ipv4/conf/all/send_redirects", "0");
        node.sysctl("ipv4/conf/default/send_redirects", "0");
        join(&node, &pod1, "pod1", &[("10.244.1.", 24), ("fd00:244:1::", 64)]);
        join(&node, &pod2, "pod2", &[("10.244.2.", 24), ("fd00:244:2::", 64)]);
        join(&node, &client, "uplink", &[("192.0.2.", 24), ("2001:db8::", 64)]);
        // Without a default route a connection from the node to a cluster IP fails before it is translated.
        node.ip(&format!("route add default via {CLIENT}"));
        node.ip(&format!("route add default via {CLIENT_V6}"));
        node.sysctl("ipv4/ip_forward", "1");
        node.sysctl("ipv6/conf/all/forwarding", "1");
        serve(&pod1, "pod1", TARGET);
        serve(&pod2, "pod2", TARGET);
        let mode = make_mode(&node);
        let (cluster, changed) = (Cluster::new(), Changed::new());
        Some(Self {
            node,
            pod1,
            pod2,
            client,
            cluster,
            changed,
            make_mode,
            mode,
            runtime: tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap(),
            node_facts: node_facts(),
            config,
        })
    }

    /// Puts the node into a zone; counts from the next transaction.
    pub(crate) fn set_zone(&mut self, zone: &str) {
        self.node_facts.viewpoint.zone = Some(zone.into());
    }

    /// Takes in new or changed objects as one transaction.
    pub(crate) fn apply(&mut self, objects: &[Value]) -> Report {
        take_in(&mut self.cluster, &mut self.changed, objects, Event::Apply, Event::Apply);
        self.sync()
    }

    /// Takes in the end of objects as one transaction.
    pub(crate) fn delete(&mut self, objects: &[Value]) -> Report {
        take_in(&mut self.cluster, &mut self.changed, objects, Event::Delete, Event::Delete);
        self.sync()
    }

    /// Takes in objects that no proxy is there to see.
    pub(crate) fn note_only(&mut self, objects: &[Value]) {
        take_in(&mut self.cluster, &mut self.changed, objects, Event::Apply, Event::Apply);
    }

    /// Takes in objects, and says how long the model and how long the kernel took.
    pub(crate) fn timed(&mut self, objects: &[Value]) -> String {
        let start = Instant::now();
        take_in(&mut self.cluster, &mut self.changed, objects, Event::Apply, Event::Apply);
        let model = start.elapsed();
        let start = Instant::now();
        let report = self.sync();
        format!("model {model:?}, kernel {:?} for {} elements", start.elapsed(), report.elements)
    }

    /// Takes in the end of all objects.
    pub(crate) fn clear(&mut self) {
        let services: Vec<_> =
            self.cluster.names().filter_map(|name| self.cluster.service(name)).cloned().collect();
        for service in services {
            self.cluster.service_event(Event::Delete(service), &mut self.changed);
        }
        self.sync();
        self.cluster = Cluster::new();
    }

    /// A new proxy process: it knows the objects and nothing of the kernel.
    pub(crate) fn restart(&mut self) -> Report {
        self.restart_with(self.config.clone())
    }

    /// The same with another configuration.
    pub(crate) fn restart_with(&mut self, config: Config) -> Report {
        self.config = config;
        self.mode = (self.make_mode)(&self.node);
        self.sync_all()
    }

    /// Loads the same ruleset into an empty kernel.
    pub(crate) fn load_afresh(&mut self) -> Report {
        proxy::cleanup(&mut self.node.run(|| nfnetlink::Socket::open().unwrap())).unwrap();
        self.sync_all()
    }

    /// A mode for a proxy of its own.
    pub(crate) fn new_mode(&self) -> Box<dyn Mode> {
        (self.make_mode)(&self.node)
    }

    /// The configuration of that proxy.
    pub(crate) fn config(&self) -> Config {
        self.config.clone()
    }

    /// Makes the kernel hold what the objects say, looking at those that changed.
    pub(crate) fn sync(&mut self) -> Report {
        let changed = std::mem::take(&mut self.changed);
        let sight = Sight { cluster: &self.cluster, node: &self.node_facts, config: &self.config };
        self.mode.sync(&sight, &Touched::Services(&changed)).unwrap()
    }

    /// Repairs what somebody else changed, once the mode heard of it; `None` if it does not hear of anything.
    pub(crate) fn repair(&mut self) -> Option<Report> {
        let patience = std::time::Duration::from_millis(300);
        let heard = async { tokio::time::timeout(patience, self.mode.disturbed()).await };
        let heard = self.runtime.block_on(heard);
        heard.ok().map(|()| self.sync_all())
    }

    /// Connections as the kernel counts them.
    pub(crate) fn counts(&mut self) -> Vec<proxy::Count> {
        self.mode.counts()
    }

    /// Lets the mode look after its rules.
    pub(crate) fn tend(&mut self) {
        let sight = Sight { cluster: &self.cluster, node: &self.node_facts, config: &self.config };
        self.mode.tend(&sight).unwrap();
    }

    /// Shows what a mode compiles from.
    pub(crate) fn with_sight<R>(&self, look: impl FnOnce(&Sight<'_>) -> R) -> R {
        look(&Sight { cluster: &self.cluster, node: &self.node_facts, config: &self.config })
    }

    /// Makes the kernel hold what the objects say, whatever it holds.
    pub(crate) fn sync_all(&mut self) -> Report {
        self.changed.clear();
        let sight = Sight { cluster: &self.cluster, node: &self.node_facts, config: &self.config };
        self.mode.sync(&sight, &Touched::Everything).unwrap()
    }

    /// Who answers how often.
    pub(crate) fn spread(&self, from: &Namespace, to: &str, times: usize) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for _ in 0..times {
            let Answer { server, .. } =
                ask(from, to).unwrap_or_else(|error| panic!("{} -> {to}: {error}", from.name));
            *counts.entry(server).or_default() += 1;
        }
        counts
    }

    /// The table as `nft` lists it, without what it counted.
    pub(crate) fn listing(&self) -> String {
        self.nft("--stateless list table inet portolan")
    }

    /// What `nft` answers.
    pub(crate) fn nft(&self, arguments: &str) -> String {
        let arguments: Vec<_> = arguments.split(' ').collect();
        let output = self.node.run(|| Command::new("nft").args(arguments).output().unwrap());
        assert!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

pub(crate) fn nftables(node: &Namespace) -> Box<dyn Mode> {
    node.run(|| -> Box<dyn Mode> { Box::new(Nftables::new(Kernel::new(nfnetlink::Socket::open().unwrap()))) })
}

/// Takes in what happens to objects.
pub(crate) fn take_in(
    cluster: &mut Cluster,
    changed: &mut Changed,
    objects: &[Value],
    service_event: fn(Service) -> Event<Service>,
    slice_event: fn(EndpointSlice) -> Event<EndpointSlice>,
) {
    for object in objects {
        match object["kind"].as_str().unwrap() {
            "Service" => {
                let service = serde_json::from_value(object.clone()).unwrap();
                cluster.service_event(service_event(service), changed);
            }
            _ => {
                let slice = serde_json::from_value(object.clone()).unwrap();
                cluster.slice_event(slice_event(slice), changed);
            }
        }
    }
}

/// What the node's proxy knows of its node.
pub(crate) fn node_facts() -> NodeFacts {
    let addresses = vec![NODE.parse().unwrap()];
    NodeFacts {
        viewpoint: Viewpoint { node: "node".into(), zone: None },
        interface_addresses: addresses.clone(),
        addresses,
        ..NodeFacts::default()
    }
}

/// The configuration of the node's proxy.
pub(crate) fn config() -> Config {
    let pods = ["10.244.0.0/16", "fd00:244::/32"].map(|range| range.parse().unwrap());
    Config { node_port_addresses: Some(NodePortAddresses::All), ..Config::new("node", pods.to_vec()) }
}

/// A Service with one port 8080; `spec` adds to it or overrides.
pub(crate) fn service(name: &str, address: &str, spec: Value) -> Value {
    let mut service = json!({
        "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": address, "ports": [{"name": "http", "port": 8080}]}
    });
    merge(&mut service["spec"], spec);
    service
}

/// A slice of endpoints (address, node) that are ready, on the target port.
pub(crate) fn slice(name: &str, service: &str, endpoints: &[(&str, &str)]) -> Value {
    slice_of(name, service, TARGET, "TCP", endpoints)
}

/// The same with weights, as their annotation has them.
pub(crate) fn slice_weighted(name: &str, service: &str, endpoints: &[(&str, &str)], weights: &str) -> Value {
    let mut slice = slice(name, service, endpoints);
    slice["metadata"]["annotations"] = json!({"portolan.dev/weights": weights});
    slice
}

pub(crate) fn slice_of(
    name: &str,
    service: &str,
    port: u16,
    protocol: &str,
    endpoints: &[(&str, &str)],
) -> Value {
    let family = if endpoints.iter().any(|(address, _)| address.contains(':')) { "IPv6" } else { "IPv4" };
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(address, node)| json!({"addresses": [address], "nodeName": node, "conditions": {"ready": true}}))
        .collect();
    json!({
        "kind": "EndpointSlice", "addressType": family,
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": "http", "port": port, "protocol": protocol}], "endpoints": endpoints
    })
}

fn merge(target: &mut Value, other: Value) {
    let Value::Object(other) = other else { return };
    for (key, value) in other {
        target[key] = value;
    }
}
