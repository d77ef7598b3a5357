//! The cost of answering a known name.

use serde_json::json;

use super::scene::{Scene, query, with_opt};
use crate::client::{Client, Transport};
use crate::plan::Action;
use crate::sys::allocations;
use crate::wire::kind;

/// A cluster with a Service of each kind.
fn scene() -> Scene {
    let mut scene = Scene::new();
    let port = json!([{"name": "http", "port": 80}]);
    let endpoints: Vec<_> = (1..=100).map(|n| json!({"addresses": [format!("10.244.0.{n}")]})).collect();
    scene
        .service("web", json!({"clusterIP": "10.96.0.7", "ports": [{"name": "http", "port": 80}]}))
        .service("heads", json!({"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}))
        .slice("heads-1", "heads", port.clone(), json!(endpoints))
        .slice("heads-2", "heads", port, json!([{"addresses": ["10.244.1.1"], "hostname": "heads-0"}]));
    scene
}

#[test]
fn known_names_are_answered_without_allocating() {
    let scene = scene();
    let questions = [
        ("web.default.svc.cluster.local", kind::A),
        ("WEB.default.svc.Cluster.Local", kind::AAAA),
        ("_http._tcp.web.default.svc.cluster.local", kind::SRV),
        ("_http._tcp.heads.default.svc.cluster.local", kind::SRV),
        ("heads.default.svc.cluster.local", kind::A),
        ("heads-0.heads.default.svc.cluster.local", kind::A),
        ("10-244-0-7.heads.default.svc.cluster.local", kind::A),
        ("7.0.96.10.in-addr.arpa", kind::PTR),
        ("10-1-2-3.default.pod.cluster.local", kind::A),
        ("www.example.com.default.svc.cluster.local", kind::A),
        ("www.example.com.svc.cluster.local", kind::A),
        ("cluster.local", kind::SOA),
        ("nothing.cluster.local", kind::TXT),
    ];
    let client = Client { address: [10, 244, 0, 9].into(), port: 4711, transport: Transport::Udp };
    let mut reply = Vec::with_capacity(4096);
    for (name, kind) in questions {
        let packet = with_opt(query(name, kind), 1232, 0);
        // The first reading of a thread registers it with the collector, which allocates.
        scene.begin(&packet, client, &mut reply);
        let before = allocations::count();
        let action = scene.begin(&packet, client, &mut reply);
        assert_eq!((action, allocations::count() - before), (Action::Reply, 0), "{name}");
    }
}
