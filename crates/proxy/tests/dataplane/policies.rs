//! Session affinity, weights, ways of balancing, source ranges, and who counts as a pod.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use proxy::{Config, DetectLocal};
use serde_json::json;

use crate::namespace::Namespace;
use crate::scene::{
    CLIENT, NODE, POD1, POD1_V6, POD2, POD2_V6, Scene, config, service, slice, slice_of, slice_weighted,
};
use crate::server::{Asker, Connection, ask, serve};

const VIP: &str = "10.96.0.20";
const VIP6: &str = "fd00:96::20";
const EXTERNAL: &str = "198.51.100.7";
const BOTH: [(&str, &str); 2] = [(POD1, "node"), (POD2, "node")];

fn node_port() -> serde_json::Value {
    json!([{"name": "http", "port": 8080, "nodePort": 31688}])
}

fn sticky(timeout: u32) -> serde_json::Value {
    json!({
        "type": "NodePort", "ports": node_port(), "externalIPs": [EXTERNAL], "clusterIPs": [VIP, VIP6],
        "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": timeout}}
    })
}

#[test]
fn a_client_stays_with_its_endpoint_at_all_addresses_of_a_service() {
    let Some(mut scene) = Scene::new() else { return };
    scene.client.ip(&format!("route add {EXTERNAL} via {NODE}"));
    scene.client.ip(&format!("route add {VIP} via {NODE}"));
    scene.apply(&[
        service("web", VIP, sticky(10_800)),
        slice("web-1", "web", &BOTH),
        slice("web-6", "web", &[(POD1_V6, "node"), (POD2_V6, "node")]),
    ]);
    let fronts = [format!("{VIP}:8080"), format!("{NODE}:31688"), format!("{EXTERNAL}:8080")];
    let met: BTreeSet<_> = fronts
        .iter()
        .flat_map(|front| (0..10).map(|_| ask(&scene.client, front).unwrap().server).collect::<Vec<_>>())
        .collect();
    assert_eq!(met.len(), 1, "{met:?}");
    assert_eq!(scene.spread(&scene.client, &format!("[{VIP6}]:8080"), 20).len(), 1, "IPv6 as well");
    println!("{}", scene.nft("list map inet portolan affinity"));

    let again = scene.restart();
    assert!(!again.full && again.elements == 0, "{again:?}");
    assert_eq!(scene.spread(&scene.client, &fronts[1], 20).into_keys().collect::<BTreeSet<_>>(), met);
    let listed = scene.nft("list table inet portolan");
    for expected in [
        "update @affinity { ip saddr . ct original ip daddr . meta l4proto . ct original proto-dst timeout 3h : ip daddr . th dport } return",
        "dnat ip to ip saddr . ip daddr . meta l4proto . th dport map @affinity comment \"to the endpoint of this client\"",
        "dnat ip6 to ip6 saddr . ip6 daddr . meta l4proto . th dport map @affinity6",
        "ct original ip6 daddr . meta l4proto . ct original proto-dst . ip6 daddr . th dport @sticky-endpoints6 update @affinity6",
        "ct original ip daddr . meta l4proto . ct original proto-dst vmap @remembering-ips",
        "meta l4proto . ct original proto-dst vmap @remembering-node-ports",
    ] {
        assert!(listed.contains(expected), "{expected} is missing in:\n{listed}");
    }
}

/// Makes a client stay with the endpoint that it would not meet if it was new; returns that endpoint's name. The
/// Service `web` must have both.
pub(crate) fn keep_at_the_other(scene: &mut Scene, from: fn(&Scene) -> &Namespace, front: &str) -> String {
    let first = ask(from(scene), front).unwrap().server;
    let (other, left) = if first == "pod1" { ("pod2", &BOTH[1..]) } else { ("pod1", &BOTH[..1]) };
    assert!(!scene.apply(&[slice("web-1", "web", left)]).full);
    assert!(!scene.nft("list map inet portolan affinity").contains("expires"), "nobody is remembered");
    assert_eq!(ask(from(scene), front).unwrap().server, other);
    scene.apply(&[slice("web-1", "web", &BOTH)]);
    // A start puts the slots into their first order, so that the same hash means the same endpoint.
    assert!(!scene.restart().full);
    other.to_owned()
}

#[test]
fn clients_of_an_endpoint_that_is_gone_are_forgotten_at_once() {
    let Some(mut scene) = Scene::new() else { return };
    scene.apply(&[service("web", VIP, sticky(10_800)), slice("web-1", "web", &BOTH)]);
    let vip = format!("{VIP}:8080");
    let other = keep_at_the_other(&mut scene, |scene| &scene.client, &vip);
    let stays =
        |scene: &Scene| scene.spread(&scene.client, &vip, 20).into_keys().collect::<Vec<_>>() == [&*other];
    assert!(stays(&scene));
    scene.note_only(&[slice("web-1", "web", &[])]);
    scene.restart();
    assert!(
        !scene.nft("list map inet portolan affinity").contains("expires"),
        "what happened meanwhile counts"
    );
}

#[test]
fn a_client_is_forgotten_when_its_time_is_over_and_not_before() {
    let Some(mut scene) = Scene::new() else { return };
    scene.apply(&[service("web", VIP, sticky(2)), slice("web-1", "web", &BOTH)]);
    let vip = format!("{VIP}:8080");
    let other = keep_at_the_other(&mut scene, |scene| &scene.client, &vip);
    for _ in 0..4 {
        std::thread::sleep(std::time::Duration::from_millis(800));
        assert_eq!(ask(&scene.client, &vip).unwrap().server, other, "each connection starts the time anew");
    }
    std::thread::sleep(std::time::Duration::from_millis(2_200));
    assert_ne!(ask(&scene.client, &vip).unwrap().server, other);
}

#[test]
fn affinity_for_local_traffic_is_apart() {
    let Some(mut scene) = Scene::new() else { return };
    let mut spec = sticky(10_800);
    spec["externalTrafficPolicy"] = "Local".into();
    let endpoints = [(POD1, "elsewhere"), (POD2, "node")];
    scene.apply(&[service("web", VIP, spec), slice("web-1", "web", &endpoints[..1])]);
    assert_eq!(ask(&scene.client, &format!("{VIP}:8080")).unwrap().server, "pod1");
    assert_eq!(ask(&scene.pod2, &format!("{NODE}:31688")).unwrap().server, "pod1");
    scene.apply(&[slice("web-1", "web", &endpoints)]);
    for _ in 0..5 {
        assert_eq!(ask(&scene.client, &format!("{VIP}:8080")).unwrap().server, "pod1");
        let answer = ask(&scene.client, &format!("{NODE}:31688")).unwrap();
        assert_eq!((answer.server.as_str(), answer.client.to_string().as_str()), ("pod2", CLIENT));
        assert_eq!(
            ask(&scene.pod2, &format!("{NODE}:31688")).unwrap().server,
            "pod1",
            "a pod may leave the node"
        );
    }
    assert!(scene.nft("list map inet portolan affinity-local").contains(CLIENT));
    // The same client at the same front becomes one of the cluster's, then one from outside again.
    let pods = ["10.244.0.0/16", "fd00:244::/32", "192.0.2.2/32"].map(|range| range.parse().unwrap());
    let inside = Config { detect_local: DetectLocal::ClusterCidr(pods.to_vec()), ..config() };
    scene.apply(&[slice("web-1", "web", &endpoints[..1])]);
    scene.restart_with(inside);
    assert_eq!(ask(&scene.client, &format!("{NODE}:31688")).unwrap().server, "pod1");
    scene.apply(&[slice("web-1", "web", &endpoints)]);
    assert_eq!(ask(&scene.client, &format!("{NODE}:31688")).unwrap().server, "pod1");
    scene.restart_with(config());
    assert_eq!(ask(&scene.client, &format!("{NODE}:31688")).unwrap().server, "pod2");
}

#[test]
fn clients_stay_with_an_endpoint_at_the_nodes_own_address() {
    let Some(mut scene) = Scene::new() else { return };
    serve(&scene.node, "node", 80);
    let endpoints = [(NODE, "node"), (POD1, "node")];
    for list in [&endpoints[..1], &endpoints[..]] {
        scene.apply(&[service("web", VIP, sticky(10_800)), slice("web-1", "web", list)]);
        for from in [&scene.client, &scene.pod2, &scene.node] {
            let spread = scene.spread(from, &format!("{VIP}:8080"), 10);
            assert_eq!(spread.into_keys().collect::<Vec<_>>(), ["node"], "{}", from.name);
        }
    }
    let counts = scene.counts();
    let of = |endpoint: &str| {
        let endpoint = Some(format!("{endpoint}:80").parse().unwrap());
        counts.iter().find(|count| count.endpoint == endpoint).map(|count| count.connections)
    };
    assert_eq!((of(NODE), of(POD1)), (Some(60), Some(0)), "endpoints are told apart");
}

#[test]
fn endpoints_get_connections_by_weight() {
    let Some(mut scene) = Scene::new() else { return };
    scene.apply(&[
        service("web", VIP, json!({})),
        slice_weighted("web-1", "web", &BOTH, &format!("{POD1}=3,{POD2}=1")),
    ]);
    let spread = scene.spread(&scene.client, &format!("{VIP}:8080"), 200);
    assert!((120..=180).contains(&spread["pod1"]), "{spread:?}");
    scene.apply(&[slice_weighted("web-1", "web", &BOTH, &format!("{POD1}=0"))]);
    assert_eq!(
        scene.spread(&scene.client, &format!("{VIP}:8080"), 20).into_keys().collect::<Vec<_>>(),
        ["pod2"]
    );
}

#[test]
fn hashed_clients_keep_their_endpoint_and_differ() {
    let Some(mut scene) = Scene::new() else { return };
    for number in 10..40 {
        scene.client.ip(&format!("addr add 192.0.2.{number}/24 dev eth0"));
    }
    let port = json!([{"name": "http", "port": 53, "protocol": "UDP"}]);
    for balance in ["source-hash", "maglev"] {
        let mut dns = service("dns", VIP, json!({"clusterIPs": [VIP, VIP6], "ports": port}));
        dns["metadata"]["annotations"] = json!({"portolan.dev/balance": balance});
        scene.apply(&[
            dns,
            slice_of("dns-1", "dns", 80, "UDP", &BOTH),
            slice_of("dns-6", "dns", 80, "UDP", &[(POD1_V6, "node"), (POD2_V6, "node")]),
        ]);
        let mut met = BTreeSet::new();
        for number in 10..40 {
            let ask = |_| {
                let asker = Asker::at(&scene.client, &format!("192.0.2.{number}"), &format!("{VIP}:53"));
                asker.ask().unwrap().server
            };
            let servers: BTreeSet<_> = (0..4).map(ask).collect();
            assert_eq!(servers.len(), 1, "{balance}: the same client, the same endpoint");
            met.extend(servers);
        }
        assert_eq!(met.len(), 2, "{balance}: all clients at one endpoint");
        let ask6 = |_| Asker::new(&scene.client, &format!("[{VIP6}]:53")).ask().unwrap().server;
        assert_eq!((0..8).map(ask6).collect::<BTreeSet<_>>().len(), 1, "{balance} with IPv6");
        assert!(scene.listing().contains("jhash ip saddr mod"));
    }
}

#[test]
fn least_connections_sends_new_clients_to_the_idle_endpoint() {
    let Some(mut scene) = Scene::new() else { return };
    let mut web = service("web", VIP, json!({}));
    web["metadata"]["annotations"] = json!({"portolan.dev/balance": "least-connections"});
    scene.apply(&[web, slice("web-1", "web", &BOTH[..1])]);
    let vip = format!("{VIP}:8080");
    let busy: Vec<_> = (0..30).map(|_| Connection::open(&scene.client, &vip).unwrap()).collect();
    scene.apply(&[slice("web-1", "web", &BOTH)]);
    scene.tend();
    let spread = scene.spread(&scene.client, &vip, 40);
    assert!(spread["pod2"] > 30, "{} connections at pod1, then {spread:?}", busy.len());
}

#[test]
fn source_ranges_guard_the_addresses_of_the_load_balancer_only() {
    let Some(mut scene) = Scene::new() else { return };
    let mut web = service(
        "web",
        VIP,
        json!({
            "type": "LoadBalancer", "ports": node_port(), "loadBalancerSourceRanges": ["192.0.2.128/25"],
            "externalIPs": [EXTERNAL]
        }),
    );
    web["status"] = json!({"loadBalancer": {"ingress": [{"ip": "198.51.100.8"}]}});
    scene.apply(&[web.clone(), slice("web-1", "web", &BOTH)]);
    scene.client.ip(&format!("route add 198.51.100.0/24 via {NODE}"));
    for open in [format!("{VIP}:8080"), format!("{NODE}:31688"), format!("{EXTERNAL}:8080")] {
        assert!(ask(&scene.client, &open).is_ok(), "{open}");
    }
    let guarded = "198.51.100.8:8080";
    for from in [&scene.client, &scene.pod1, &scene.node] {
        assert_eq!(ask(from, guarded).unwrap_err().kind(), ErrorKind::TimedOut, "{}", from.name);
    }
    web["spec"]["loadBalancerSourceRanges"] = json!(["192.0.2.0/25", " 10.244.2.0/24"]);
    scene.apply(&[web.clone()]);
    assert!(ask(&scene.client, guarded).is_ok());
    assert!(ask(&scene.pod2, guarded).is_ok());
    assert!(ask(&scene.pod1, guarded).is_err());
    assert!(
        scene.listing().contains("198.51.100.8 . tcp . 8080 comment \"default/web:http\" : goto let-in-")
    );
    // The node is among those who may come in, so what it sends to itself may too.
    scene.node.ip("addr add 198.51.100.8/32 dev lo");
    assert!(ask(&scene.node, guarded).is_ok());
    web["spec"]["loadBalancerSourceRanges"] = json!(["0.0.0.0/0"]);
    scene.apply(&[web]);
    assert!(ask(&scene.pod1, guarded).is_ok());
    scene.sync();
    assert!(!scene.listing().contains("let-in-"), "chain and set are gone");
}

#[test]
fn masquerade_all_hides_pods_too() {
    let Some(mut scene) = Scene::new() else { return };
    scene.apply(&[service("web", VIP, json!({})), slice("web-1", "web", &BOTH[1..])]);
    scene.restart_with(Config { masquerade_all: true, ..config() });
    assert_eq!(ask(&scene.pod1, &format!("{VIP}:8080")).unwrap().client.to_string(), "10.244.2.1");
}

#[test]
fn pods_are_told_by_the_interface_they_come_in_by() {
    let Some(mut scene) = Scene::new() else { return };
    let spec = json!({"type": "NodePort", "ports": node_port(), "externalTrafficPolicy": "Local"});
    serve(&scene.client, "elsewhere", 80);
    let endpoints = [(POD1, "node"), (CLIENT, "elsewhere")];
    scene.apply(&[service("web", VIP, spec), slice("web-1", "web", &endpoints)]);
    scene.apply(&[service("one", "10.96.0.21", json!({})), slice("one-1", "one", &BOTH[..1])]);
    for detect_local in
        [DetectLocal::InterfaceNamePrefix("pod".into()), DetectLocal::BridgeInterface("pod2".into())]
    {
        scene.restart_with(Config { detect_local: detect_local.clone(), ..config() });
        let seen = |from, to: &str| ask(from, to).unwrap().client.to_string();
        assert_eq!(seen(&scene.pod2, "10.96.0.21:8080"), POD2, "{detect_local:?}");
        assert_ne!(seen(&scene.client, "10.96.0.21:8080"), CLIENT, "{detect_local:?}");
        assert_eq!(scene.spread(&scene.pod2, &format!("{NODE}:31688"), 40).len(), 2, "{detect_local:?}");
        assert_eq!(scene.spread(&scene.client, &format!("{NODE}:31688"), 10).len(), 1, "{detect_local:?}");
    }
    assert!(scene.listing().contains("iifname != \"pod2\""));
}

#[test]
fn when_pods_cannot_be_told_nobody_is_one() {
    let Some(mut scene) = Scene::new() else { return };
    let spec = json!({"type": "NodePort", "ports": node_port(), "externalTrafficPolicy": "Local"});
    scene.apply(&[service("web", VIP, spec), slice("web-1", "web", &[(POD1, "node"), (POD2, "elsewhere")])]);
    scene.restart_with(Config { detect_local: DetectLocal::ClusterCidr(Vec::new()), ..config() });
    for from in [&scene.pod2, &scene.client] {
        assert_eq!(
            scene.spread(from, &format!("{NODE}:31688"), 20).into_keys().collect::<Vec<_>>(),
            ["pod1"]
        );
    }
    assert_eq!(scene.spread(&scene.node, &format!("{NODE}:31688"), 40).len(), 2, "the node is always known");
    assert_eq!(ask(&scene.client, &format!("{VIP}:8080")).unwrap().client.to_string(), CLIENT);
}

#[test]
fn addresses_that_no_service_has_are_dropped() {
    let Some(mut scene) = Scene::new() else { return };
    scene.apply(&[service("web", VIP, json!({})), slice("web-1", "web", &BOTH)]);
    scene.node_facts.service_cidrs = vec!["10.96.0.0/16".parse().unwrap()];
    assert!(!scene.sync().full, "a new ServiceCIDR is an element");
    for from in [&scene.pod1, &scene.node] {
        assert_eq!(ask(from, "10.96.0.77:8080").unwrap_err().kind(), ErrorKind::TimedOut, "{}", from.name);
        assert!(ask(from, &format!("{VIP}:8080")).is_ok());
        assert_eq!(ask(from, &format!("{VIP}:81")).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
    scene.node_facts.service_cidrs = vec!["10.96.0.0/15".parse().unwrap(), "fd00:96::/112".parse().unwrap()];
    assert!(!scene.sync().full);
    assert_eq!(scene.restart().elements, 0);
}

#[test]
fn an_external_ip_that_is_the_nodes_own_leaves_its_other_ports_alone() {
    let Some(mut scene) = Scene::new() else { return };
    serve(&scene.node, "node", 22);
    for spec in [json!({"externalIPs": [NODE]}), json!({"clusterIPs": [NODE]})] {
        scene.apply(&[service("web", VIP, spec), slice("web-1", "web", &BOTH)]);
        for from in [&scene.client, &scene.pod1] {
            assert_eq!(ask(from, &format!("{NODE}:22")).unwrap().server, "node");
            assert_eq!(scene.spread(from, &format!("{NODE}:8080"), 40).len(), 2);
        }
    }
}
