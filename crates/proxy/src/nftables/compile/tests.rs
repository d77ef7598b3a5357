//! What Services become, as table tests on the dry run.

use serde_json::{Value, json};
use service::{Changed, Cluster, Event, Viewpoint};

use super::*;
use crate::nftables::ruleset::Ruleset;

fn service(name: &str, spec: &Value) -> Value {
    let mut service = json!({"metadata": {"name": name, "namespace": "ns"}, "spec": spec});
    let port = json!([{"name": "http", "port": 80}]);
    if service["spec"]["ports"].is_null() {
        service["spec"]["ports"] = port;
    }
    service
}

/// Address, node, and whether it is ready (if not, it terminates).
type Endpoint = (&'static str, &'static str, bool);

fn slice(service: &str, port: &str, protocol: &str, endpoints: &[Endpoint]) -> Value {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(address, node, ready)| {
            json!({"addresses": [address], "nodeName": node,
                "conditions": {"ready": ready, "serving": true, "terminating": !ready}})
        })
        .collect();
    json!({
        "metadata": {"name": service, "namespace": "ns", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "ports": [{"name": port, "port": 8000, "protocol": protocol}], "endpoints": endpoints
    })
}

/// One line per front, with its way and its endpoints.
fn compiled(service: Value, slice: Value) -> Vec<String> {
    let viewpoint = Viewpoint { node: "here".into(), zone: None };
    let node = NodeFacts { viewpoint: viewpoint.clone(), ..NodeFacts::default() };
    let (mut cluster, mut changed) = (Cluster::new(), Changed::new());
    cluster.service_event(Event::Apply(serde_json::from_value(service).unwrap()), &mut changed);
    cluster.slice_event(Event::Apply(serde_json::from_value(slice).unwrap()), &mut changed);
    let mut ruleset = Ruleset::new();
    for name in changed {
        let fragment = compile(&cluster.ports(&name, &viewpoint), &node, &Load::default(), None);
        ruleset.replace(&name, fragment);
    }
    let mut fronts: Vec<_> = ruleset.fronts().collect();
    fronts.sort_unstable_by_key(|(front, _)| **front);
    let line =
        |(front, value): (&Front, &Arc<FrontValue>)| format!("{front} ({}): {}", value.comment, way(value));
    fronts.into_iter().map(line).collect()
}

fn way(value: &FrontValue) -> String {
    let list = |range: Range| {
        let run = range.first as usize..(range.first + range.count) as usize;
        value.slots[run].iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    match value.way {
        Way::Serve { range, masquerade: false } => list(range),
        Way::Serve { range, masquerade: true } => format!("masquerade, {}", list(range)),
        Way::Split { inside, outside } if outside.count == 0 => {
            format!("from the cluster {}; from outside drop", list(inside))
        }
        Way::Split { inside, outside } => {
            format!("from the cluster {}; from outside {}", list(inside), list(outside))
        }
        Way::Drop => "drop".to_owned(),
        Way::Reject => "reject".to_owned(),
    }
}

const TWO: [Endpoint; 2] = [("10.244.0.1", "here", true), ("10.244.0.2", "there", true)];

#[test]
fn each_way_in_gets_a_front() {
    let spec = json!({
        "clusterIP": "10.96.0.1", "externalIPs": ["198.51.100.1", "198.51.100.1", "fd00::1"], "type": "NodePort",
        "ports": [{"name": "http", "port": 80, "nodePort": 30080}]
    });
    assert_eq!(
        compiled(service("web", &spec), slice("web", "http", "TCP", &TWO)),
        [
            "10.96.0.1:80/tcp (ns/web:http): 10.244.0.1:8000 10.244.0.2:8000",
            "198.51.100.1:80/tcp (ns/web:http): masquerade, 10.244.0.1:8000 10.244.0.2:8000",
            "IPv4 node port 30080/tcp (ns/web:http): masquerade, 10.244.0.1:8000 10.244.0.2:8000",
        ]
    );
}

#[test]
fn local_policies_share_the_slots_of_the_cluster_list() {
    let spec = json!({
        "clusterIP": "10.96.0.1", "type": "NodePort", "externalTrafficPolicy": "Local",
        "internalTrafficPolicy": "Local", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]
    });
    let cases: [(&[Endpoint], [&str; 2]); 4] = [
        (
            &TWO,
            [
                "10.244.0.1:8000",
                "from the cluster 10.244.0.1:8000 10.244.0.2:8000; from outside 10.244.0.1:8000",
            ],
        ),
        (&TWO[1..], ["drop", "from the cluster 10.244.0.2:8000; from outside drop"]),
        (&[], ["reject", "reject"]),
        // The local list falls back to an endpoint that the cluster list does not have.
        (
            &[("10.244.0.1", "here", false), TWO[1]],
            ["10.244.0.1:8000", "from the cluster 10.244.0.2:8000; from outside 10.244.0.1:8000"],
        ),
    ];
    for (endpoints, [internal, external]) in cases {
        let lines = compiled(service("web", &spec), slice("web", "http", "TCP", endpoints));
        assert_eq!(
            lines,
            [
                format!("10.96.0.1:80/tcp (ns/web:http): {internal}"),
                format!("IPv4 node port 30080/tcp (ns/web:http): {external}"),
            ]
        );
    }
}

#[test]
fn a_port_takes_only_endpoints_of_its_name_and_protocol() {
    let spec = json!({"clusterIP": "10.96.0.1", "ports": [
        {"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53}
    ]});
    assert_eq!(
        compiled(service("dns", &spec), slice("dns", "dns", "UDP", &TWO[..1])),
        ["10.96.0.1:53/tcp (ns/dns:dns-tcp): reject", "10.96.0.1:53/udp (ns/dns:dns): 10.244.0.1:8000",]
    );
}

#[test]
fn what_a_proxy_leaves_alone_gives_nothing() {
    for spec in
        [json!({"clusterIP": "None"}), json!({}), json!({"type": "ExternalName", "clusterIP": "10.96.0.1"})]
    {
        assert!(compiled(service("web", &spec), slice("web", "http", "TCP", &TWO)).is_empty());
    }
}

#[test]
fn every_address_of_a_service_of_very_many_has_its_entry() {
    let addresses: Vec<String> =
        (0..60_000_u32).map(|n| IpAddr::from((0x0102_0000 + n).to_be_bytes()).to_string()).collect();
    let spec = json!({"clusterIP": "10.96.0.1", "externalIPs": addresses});
    let lines = compiled(service("a", &spec), slice("a", "http", "TCP", &[("10.244.0.1", "here", true)]));
    assert_eq!(lines.len(), 60_001);
}
