//! Random clusters that an API server accepts.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use fastrand::Rng;
use serde_json::{Value, json};

/// The node that everything is looked at from, and its zone.
pub const NODE: &str = "node-a";
const ZONE: &str = "zone-a";
/// Other nodes and zones.
const NODES: [&str; 3] = [NODE, "node-b", "node-c"];
const ZONES: [&str; 2] = [ZONE, "zone-b"];
/// The node's primary address, which is also the API server's.
pub const PRIMARY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Addresses of the node; the first of each family is the primary one.
pub const NODE_IPS: [&str; 3] = ["192.0.2.1", "192.0.2.101", "2001:db8::1"];
/// Addresses that are nobody's until a Service names them.
const EXTERNAL: [&str; 6] =
    ["198.51.100.1", "198.51.100.2", "198.51.100.3", "2001:db8:5::1", "2001:db8:5::2", "192.0.2.101"];
const BALANCED: [&str; 5] = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "2001:db8:6::1", "2001:db8:6::2"];
/// Ranges that may reach load balancer addresses.
const SOURCES: [&str; 7] = [
    "198.18.0.0/16",
    "198.18.5.0/24",
    "192.0.2.0/24",
    "10.244.0.0/16",
    "2001:db8:7::/48",
    "0.0.0.0/0",
    "fd00:244::/48",
];

/// A random cluster: what to create, and the status to give some of it afterwards.
#[derive(Debug)]
pub struct Cluster {
    /// Services, as a user would write them.
    pub services: Vec<Value>,
    /// `status.loadBalancer` of some Services, by name.
    pub balanced: Vec<(String, Value)>,
    /// EndpointSlices.
    pub slices: Vec<Value>,
}

/// A cluster with so many Services.
pub fn cluster(random: &mut Rng, services: usize) -> Cluster {
    let mut cluster = Cluster { services: Vec::new(), balanced: Vec::new(), slices: Vec::new() };
    for number in 0..services {
        let name = format!("svc-{number}");
        // Two Services that claim one address and port get it by chance in kube-proxy, so none does here.
        let first_port = 1000 + 4 * number;
        let (service, ports) = service(random, &name, first_port);
        let headless = service["spec"]["clusterIP"] == "None";
        if service["spec"]["type"] == "LoadBalancer" {
            cluster.balanced.push((name.clone(), balanced(random)));
        }
        cluster.services.push(service);
        let hinted = random.u8(..4) == 0;
        let mut known = BTreeMap::new();
        for slice in 0..random.usize(..4) {
            let family = *choose(random, &["IPv4", "IPv4", "IPv6"]);
            let slice_name = format!("{name}-{slice}");
            cluster.slices.push(self::slice(
                random,
                (&name, &slice_name),
                family,
                &ports,
                (headless, hinted),
                &mut known,
            ));
        }
    }
    cluster
}

fn choose<'a, T>(random: &mut Rng, from: &'a [T]) -> &'a T {
    &from[random.usize(..from.len())]
}

fn some(random: &mut Rng, from: &[&'static str], most: usize) -> Vec<&'static str> {
    let mut chosen: Vec<_> = (0..random.usize(..=most)).map(|_| *choose(random, from)).collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

/// A Service and its (port name, protocol) pairs.
fn service(random: &mut Rng, name: &str, first_port: usize) -> (Value, Vec<(String, &'static str)>) {
    let kind = *choose(
        random,
        &["ClusterIP", "ClusterIP", "NodePort", "NodePort", "LoadBalancer", "LoadBalancer", "ExternalName"],
    );
    let count = random.usize(1..=3);
    let mut ports = Vec::new();
    let mut named = Vec::new();
    for index in 0..count {
        let port_name = if count == 1 && random.bool() { String::new() } else { format!("p{index}") };
        let protocol = *choose(random, &["TCP", "TCP", "UDP", "SCTP"]);
        let number = first_port + index;
        ports.push(json!({"name": port_name, "protocol": protocol, "port": number}));
        named.push((port_name, protocol));
    }
    let mut spec = json!({"type": kind, "ports": ports});
    if kind == "ExternalName" {
        spec["externalName"] = "example.com".into();
    } else {
        spec["ipFamilyPolicy"] =
            (*choose(random, &["SingleStack", "PreferDualStack", "RequireDualStack"])).into();
        if random.u8(..4) == 0 {
            spec["ipFamilies"] = json!(["IPv6"]);
            spec["ipFamilyPolicy"] = (*choose(random, &["SingleStack", "PreferDualStack"])).into();
        }
        if kind == "ClusterIP" && random.u8(..10) == 0 {
            spec["clusterIP"] = "None".into();
        }
        if random.u8(..4) == 0 {
            spec["sessionAffinity"] = "ClientIP".into();
            if random.bool() {
                spec["sessionAffinityConfig"] =
                    json!({"clientIP": {"timeoutSeconds": random.u32(1..=86_400)}});
            }
        }
        if random.u8(..3) == 0 {
            spec["internalTrafficPolicy"] = "Local".into();
        }
        let external = some(random, &EXTERNAL, 2);
        let reachable = kind != "ClusterIP" || !external.is_empty();
        if random.u8(..3) == 0 && spec["clusterIP"] != "None" {
            spec["externalIPs"] = external.into();
        }
        if random.u8(..2) == 0 && reachable && (kind != "ClusterIP" || spec.get("externalIPs").is_some()) {
            spec["externalTrafficPolicy"] = "Local".into();
        }
        if kind == "LoadBalancer" {
            if random.bool() {
                spec["loadBalancerSourceRanges"] = some(random, &SOURCES, 3).into();
            }
            if random.u8(..4) == 0 {
                spec["allocateLoadBalancerNodePorts"] = false.into();
            }
        }
    }
    let mut metadata = json!({"name": name, "namespace": "default"});
    if random.u8(..20) == 0 {
        metadata["labels"] = json!({"service.kubernetes.io/service-proxy-name": "another"});
    }
    (json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}), named)
}

fn balanced(random: &mut Rng) -> Value {
    let mut ingress: Vec<Value> = Vec::new();
    for address in some(random, &BALANCED, 2) {
        let mut entry = json!({"ip": address});
        match random.u8(..4) {
            0 => entry["ipMode"] = "Proxy".into(),
            1 => entry["ipMode"] = "VIP".into(),
            _ => {}
        }
        ingress.push(entry);
    }
    json!({"loadBalancer": {"ingress": ingress}})
}

fn slice(
    random: &mut Rng,
    (service, name): (&str, &str),
    family: &str,
    ports: &[(String, &'static str)],
    (headless, hinted): (bool, bool),
    known: &mut BTreeMap<String, Value>,
) -> Value {
    let mut labels = json!({
        "kubernetes.io/service-name": service,
        "endpointslice.kubernetes.io/managed-by": if random.bool() { "endpointslice-controller.k8s.io" } else { "by-hand" },
    });
    if headless {
        labels["service.kubernetes.io/headless"] = "".into();
    }
    let mut served = Vec::new();
    for (name, protocol) in ports {
        if random.u8(..8) != 0 {
            let port = *choose(random, &[8080_u16, 8080, 9090, 80]);
            served.push(json!({"name": name, "protocol": protocol, "port": port}));
        }
    }
    let endpoints: Vec<_> = (0..random.usize(..6)).map(|_| endpoint(random, family, hinted, known)).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "ports": served, "endpoints": endpoints,
    })
}

/// Few addresses, so that slices and Services share some. Where a Service names an address twice, it says the same,
/// or one of them is terminating: between others kube-proxy chooses by chance.
fn endpoint(random: &mut Rng, family: &str, hinted: bool, known: &mut BTreeMap<String, Value>) -> Value {
    let (node, host) = (random.usize(..NODES.len()), random.u8(2..12));
    let address = match family {
        "IPv4" => format!("10.244.{node}.{host}"),
        // The API server wants the shortest form, which the standard library writes.
        _ => std::net::Ipv6Addr::new(0xfd00, 0x244, 0, node as u16, 0, 0, 0, u16::from(host)).to_string(),
    };
    if let Some(known) = known.get(&address) {
        let mut again = known.clone();
        if known["conditions"]["terminating"] != true && random.bool() {
            again["conditions"] = json!({"ready": false, "serving": true, "terminating": true});
        }
        return again;
    }
    let mut conditions = json!({});
    // Terminating endpoints are not ready, unless not-ready addresses are published.
    match random.u8(..8) {
        0 => conditions = json!({"ready": false, "serving": true, "terminating": true}),
        1 => conditions = json!({"ready": false, "serving": false, "terminating": true}),
        2 => conditions = json!({"ready": false}),
        3 => conditions = json!({"ready": false, "serving": true, "terminating": false}),
        4 => conditions = json!({"ready": true, "serving": true, "terminating": false}),
        _ => {}
    }
    let mut endpoint = json!({"addresses": [&address], "conditions": conditions});
    if random.u8(..12) != 0 {
        endpoint["nodeName"] = NODES[node].into();
    }
    if hinted && random.u8(..12) != 0 {
        let mut hints = json!({"forZones": [{"name": *choose(random, &ZONES)}]});
        if random.bool() {
            hints["forNodes"] = json!([{"name": *choose(random, &NODES)}]);
        }
        endpoint["hints"] = hints;
    }
    known.insert(address, endpoint.clone());
    endpoint
}

/// The Node that is looked from, without its status.
pub fn node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": NODE, "labels": {"topology.kubernetes.io/zone": ZONE}},
        "spec": {"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24", "fd00:244::/64"]},
    })
}

/// Its status.
pub fn node_status() -> Value {
    json!({"addresses": [
        {"type": "InternalIP", "address": NODE_IPS[0]}, {"type": "InternalIP", "address": NODE_IPS[2]},
        {"type": "Hostname", "address": NODE},
    ]})
}

/// Settings of kube-proxy to vary, beside the mode.
pub fn settings(random: &mut Rng, mode: &str) -> String {
    let mut text = format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: {mode}\n\
         hostnameOverride: {NODE}\nconntrack: {{maxPerCore: 0, min: 0, tcpCloseWaitTimeout: 0s, tcpEstablishedTimeout: 0s, tcpBeLiberal: {}}}\n",
        random.bool()
    );
    text.push_str(match random.u8(..6) {
        0 => "clusterCIDR: ''\n",
        1 => "detectLocalMode: NodeCIDR\n",
        2 => "detectLocalMode: BridgeInterface\ndetectLocal: {bridgeInterface: cni0}\n",
        3 => "detectLocalMode: InterfaceNamePrefix\ndetectLocal: {interfaceNamePrefix: veth}\n",
        4 => "clusterCIDR: 10.244.0.0/16\n",
        _ => "clusterCIDR: 10.244.0.0/16,fd00:244::/48\n",
    });
    text.push_str(match random.u8(..4) {
        0 => "nodePortAddresses: [192.0.2.0/24]\n",
        1 => "nodePortAddresses: [192.0.2.1/32, '2001:db8::/64']\n",
        2 => "nodePortAddresses: [primary]\n",
        _ => "",
    });
    let section = if mode == "nftables" { "nftables" } else { "iptables" };
    let localhost = match mode {
        "iptables" => format!(", localhostNodePorts: {}", random.bool()),
        _ => String::new(),
    };
    text.push_str(&format!(
        "{section}: {{masqueradeAll: {}, masqueradeBit: {}, syncPeriod: 30s, minSyncPeriod: 1s{localhost}}}\n",
        random.u8(..4) == 0,
        choose(random, &[14_u8, 14, 5, 31])
    ));
    text
}
