//! The rules do what the model says.

use super::*;
use crate::explain::{Model, Share, outcome};
use crate::nftables::compile_rules;
use crate::nftables::scene::{Numbers, Scene, packets};

const SERVICES: u64 = 8;

#[test]
fn every_packet_goes_the_way_of_the_model() {
    for seed in 1..=12 {
        let mut numbers = Numbers(seed);
        let objects: Vec<_> = (0..SERVICES).flat_map(|number| numbers.service(number)).collect();
        let mut scene = Scene::new(&objects);
        scene.config.masquerade_all = seed % 4 == 0;
        if seed % 5 == 0 {
            scene.config.detect_local = crate::DetectLocal::ClusterCidr(Vec::new());
        }
        let ruleset = compile_rules(&scene.sight());
        let walker = Walker::new([&ruleset], &scene.node);
        let model = Model::new(scene.sight());
        for packet in packets(SERVICES) {
            let branches = walker.trace(&packet).unwrap();
            let sum: f64 = branches.iter().map(|branch| branch.probability).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{packet:?}");
            let (verdict, endpoints) = outcome(&branches);
            let expected = model.expect(&packet);
            let steps = branches.iter().map(|branch| &branch.steps).collect::<Vec<_>>();
            assert_eq!(verdict, expected.verdict, "seed {seed}: {packet:?}\n{steps:#?}");
            assert_eq!(
                shares(&endpoints),
                shares(&expected.endpoints),
                "seed {seed}: {packet:?}\n{steps:#?}"
            );
        }
    }
}

/// Endpoints with masquerading and parts per million.
fn shares(shares: &[Share]) -> Vec<(std::net::SocketAddr, bool, u32)> {
    shares
        .iter()
        .map(|share| (share.address, share.masquerade, (share.probability * 1e6).round() as u32))
        .collect()
}

#[test]
fn steps_say_what_each_rule_did() {
    let spec = serde_json::json!({"kind": "Service", "metadata": {"name": "web", "namespace": "ns"},
        "spec": {"clusterIP": "172.30.0.1", "ports": [{"name": "p", "port": 80}]}});
    let slice = serde_json::json!({"kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "web", "namespace": "ns", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [{"addresses": ["10.180.0.1"]}], "ports": [{"name": "p", "port": 8080}]});
    let scene = Scene::new(&[spec, slice]);
    let ruleset = compile_rules(&scene.sight());
    let packet = Packet {
        source: "203.0.113.2".parse().unwrap(),
        destination: "172.30.0.1:80".parse().unwrap(),
        protocol: service::objects::Protocol::Tcp,
        interface: None,
    };
    let branches = Walker::new([&ruleset], &scene.node).trace(&packet).unwrap();
    let steps = branches[0].steps.join("\n");
    println!("{steps}");
    for expected in [
        "services marks the packet to be masqueraded: ip saddr != @cluster-cidrs ip daddr @cluster-ips meta mark set",
        "services goes on in chain service-1-4: ip daddr . meta l4proto . th dport vmap @service-ips",
        "service-1-4 sends the packet to endpoint 10.180.0.1:8080: dnat ip to",
        "puts the node's address in place of the client's",
    ] {
        assert!(steps.contains(expected), "{expected} is missing in:\n{steps}");
    }
}
