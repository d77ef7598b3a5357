//! What clients meet, by where they are and what the Service says.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use proxy::{Config, NodePortAddresses};
use serde_json::json;

use crate::scene::{
    CLIENT, NODE, POD1, POD1_V6, POD2, POD2_V6, Scene, TARGET, config, service, slice, slice_of,
};
use crate::server::{Asker, ask, serve, serve_udp};

const VIP: &str = "10.96.0.20";
const BOTH: [(&str, &str); 2] = [(POD1, "node"), (POD2, "node")];

#[test]
fn a_cluster_ip_reaches_all_endpoints_from_everywhere() {
    let Some(mut scene) = Scene::new() else { return };
    scene.apply(&[service("web", VIP, json!({})), slice("web-1", "web", &BOTH)]);
    let vip = format!("{VIP}:8080");
    for from in [&scene.pod1, &scene.node, &scene.client] {
        let spread = scene.spread(from, &vip, 60);
        assert!(spread.len() == 2 && spread.values().all(|count| *count > 10), "{spread:?}");
    }
}

#[test]
fn only_clients_outside_the_cluster_are_masqueraded_at_a_cluster_ip() {
    let Some(mut scene) = Scene::new() else { return };
    scene.apply(&[service("web", VIP, json!({})), slice("web-1", "web", &BOTH[1..])]);
    let vip = format!("{VIP}:8080");
    assert_eq!(ask(&scene.pod1, &vip).unwrap().client.to_string(), POD1, "a pod keeps its address");
    assert_eq!(ask(&scene.client, &vip).unwrap().client.to_string(), "10.244.2.1");
    assert_eq!(ask(&scene.node, &vip).unwrap().client.to_string(), "10.244.2.1");
}

#[test]
fn a_pod_reaches_itself_through_its_service() {
    let Some(mut scene) = Scene::new() else { return };
    scene.apply(&[service("web", VIP, json!({})), slice("web-1", "web", &BOTH[..1])]);
    let answer = ask(&scene.pod1, &format!("{VIP}:8080")).unwrap();
    assert_eq!(answer.server, "pod1");
    assert_eq!(answer.client.to_string(), "10.244.1.1", "masqueraded, or the answer would not come back");
}

#[test]
fn a_node_port_reaches_endpoints_from_outside_and_hides_the_client() {
    let Some(mut scene) = Scene::new() else { return };
    let port = json!([{"name": "http", "port": 8080, "nodePort": 31688}]);
    scene.apply(&[
        service("web", VIP, json!({"type": "NodePort", "ports": port})),
        slice("web-1", "web", &BOTH),
    ]);
    let node_port = format!("{NODE}:31688");
    assert_eq!(scene.spread(&scene.client, &node_port, 40).len(), 2);
    assert!(ask(&scene.client, &node_port).unwrap().client.to_string().starts_with("10.244."));
    assert_eq!(scene.spread(&scene.pod1, &node_port, 40).len(), 2, "from a pod");
    assert_eq!(scene.spread(&scene.node, &node_port, 40).len(), 2, "from the node itself");
}

#[test]
fn external_traffic_policy_local_keeps_the_client_and_the_node() {
    let Some(mut scene) = Scene::new() else { return };
    let spec = json!({
        "type": "NodePort", "externalTrafficPolicy": "Local",
        "ports": [{"name": "http", "port": 8080, "nodePort": 31688}], "externalIPs": ["198.51.100.7"]
    });
    let endpoints = [(POD1, "node"), (POD2, "elsewhere")];
    scene.apply(&[service("web", VIP, spec), slice("web-1", "web", &endpoints)]);
    scene.client.ip(&format!("route add 198.51.100.7 via {NODE}"));
    for front in [format!("{NODE}:31688"), "198.51.100.7:8080".to_owned()] {
        assert_eq!(scene.spread(&scene.client, &front, 20).keys().collect::<Vec<_>>(), ["pod1"]);
        assert_eq!(ask(&scene.client, &front).unwrap().client.to_string(), CLIENT);
        assert_eq!(scene.spread(&scene.node, &front, 40).len(), 2, "the node's own traffic goes anywhere");
        assert_eq!(scene.spread(&scene.pod1, &front, 40).len(), 2, "so does that of pods");
    }
    scene.apply(&[slice("web-1", "web", &endpoints[1..])]);
    let error = ask(&scene.client, &format!("{NODE}:31688")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "dropped, so that a load balancer looks elsewhere");
    assert_eq!(ask(&scene.pod1, &format!("{NODE}:31688")).unwrap().server, "pod2");
}

#[test]
fn internal_traffic_policy_local_stays_on_the_node() {
    let Some(mut scene) = Scene::new() else { return };
    let endpoints = [(POD1, "elsewhere"), (POD2, "node")];
    scene.apply(&[
        service("web", VIP, json!({"internalTrafficPolicy": "Local"})),
        slice("web-1", "web", &endpoints),
    ]);
    let spread = scene.spread(&scene.pod1, &format!("{VIP}:8080"), 20);
    assert_eq!(spread.keys().collect::<Vec<_>>(), ["pod2"]);
}

#[test]
fn a_hand_made_endpoint_may_listen_anywhere_on_another_port() {
    let Some(mut scene) = Scene::new() else { return };
    serve(&scene.client, "outside", 9376);
    scene.apply(&[service("db", VIP, json!({})), slice_of("db-1", "db", 9376, "TCP", &[(CLIENT, "")])]);
    for from in [&scene.pod1, &scene.node] {
        assert_eq!(ask(from, &format!("{VIP}:8080")).unwrap().server, "outside");
    }
}

#[test]
fn an_endpoint_may_be_the_node_itself() {
    let Some(mut scene) = Scene::new() else { return };
    serve(&scene.node, "node", 6443);
    serve_udp(&scene.node, "node-udp", format!("{NODE}:5353").parse().unwrap());
    let ports = json!([{"name": "http", "port": 443}, {"name": "udp", "port": 53, "protocol": "UDP"}]);
    let mut udp = slice_of("api-2", "api", 5353, "UDP", &[(NODE, "node")]);
    udp["ports"][0]["name"] = "udp".into();
    scene.apply(&[
        service("api", VIP, json!({"ports": ports})),
        slice_of("api-1", "api", 6443, "TCP", &[(NODE, "node")]),
        udp,
    ]);
    for from in [&scene.pod1, &scene.node, &scene.client] {
        assert_eq!(ask(from, &format!("{VIP}:443")).unwrap().server, "node", "{}", from.name);
        assert_eq!(Asker::new(from, &format!("{VIP}:53")).ask().unwrap().server, "node-udp", "{}", from.name);
    }
}

#[test]
fn node_ports_are_open_where_they_are_told() {
    let Some(mut scene) = Scene::new() else { return };
    let port = json!([{"name": "http", "port": 8080, "nodePort": 31688}]);
    scene.apply(&[
        service("web", VIP, json!({"type": "NodePort", "ports": port})),
        slice("web-1", "web", &BOTH),
    ]);
    let inner = "10.244.1.1:31688";
    assert!(ask(&scene.pod2, inner).is_ok(), "all addresses of the node");
    let config = Config { node_port_addresses: Some(NodePortAddresses::Primary), ..config() };
    assert!(!scene.restart_with(config).full, "another configuration is other rules in the same table");
    assert_eq!(ask(&scene.pod2, inner).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(ask(&scene.client, &format!("{NODE}:31688")).is_ok());
}

#[test]
fn without_endpoints_connections_are_refused_at_once() {
    let Some(mut scene) = Scene::new() else { return };
    let spec = json!({
        "type": "NodePort", "ports": [{"name": "http", "port": 8080, "nodePort": 31688}],
        "externalIPs": ["198.51.100.7"]
    });
    scene.apply(&[service("web", VIP, spec)]);
    let fronts = [format!("{VIP}:8080"), format!("{NODE}:31688"), "198.51.100.7:8080".to_owned()];
    for from in [&scene.pod1, &scene.node, &scene.client] {
        for front in &fronts {
            let start = Instant::now();
            let error = ask(from, front).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{} -> {front}", from.name);
            assert!(start.elapsed() < Duration::from_millis(500));
        }
    }
    let asker = Asker::new(&scene.pod1, &format!("{VIP}:53"));
    assert_eq!(asker.ask().unwrap_err().kind(), ErrorKind::ConnectionRefused, "UDP gets an ICMP error");
}

#[test]
fn a_port_that_the_service_does_not_have_is_refused() {
    let Some(mut scene) = Scene::new() else { return };
    scene.apply(&[service("web", VIP, json!({})), slice("web-1", "web", &BOTH)]);
    for from in [&scene.pod1, &scene.node] {
        let error = ask(from, &format!("{VIP}:{TARGET}")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn ipv6_works_like_ipv4() {
    let Some(mut scene) = Scene::new() else { return };
    let spec = json!({
        "clusterIPs": [VIP, "fd00:96::20"], "type": "NodePort",
        "ports": [{"name": "http", "port": 8080, "nodePort": 31688}]
    });
    scene.apply(&[service("web", VIP, spec)]);
    let vip = "[fd00:96::20]:8080";
    for from in [&scene.pod1, &scene.node] {
        assert_eq!(ask(from, vip).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
    scene.apply(&[slice("web-6", "web", &[(POD1_V6, "node"), (POD2_V6, "node")])]);
    for from in [&scene.pod1, &scene.node, &scene.client] {
        let spread = scene.spread(from, vip, 40);
        assert_eq!(spread.len(), 2, "{} {spread:?}", from.name);
    }
    assert_eq!(scene.spread(&scene.client, "[2001:db8::1]:31688", 40).len(), 2);
}
