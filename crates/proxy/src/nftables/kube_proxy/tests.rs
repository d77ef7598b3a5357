//! The layout of kube-proxy 1.36, as `nft` lists it, and where its packets go.

use serde_json::{Value, json};

use super::*;
use crate::explain::outcome;
use crate::nftables::scene::{Numbers, Scene, packets};
use crate::nftables::{Walker, compile_rules};
use crate::packet::Tracer;

/// The Services of kube-proxy's own test of the whole table (`TestOverallNFTablesRules`).
fn six_services() -> Vec<Value> {
    let service = |number: u8, mut spec: Value, ingress: &[&str]| {
        spec["clusterIP"] = format!("172.30.0.4{number}").into();
        spec["ports"][0]["name"] = "p80".into();
        spec["ports"][0]["port"] = 80.into();
        let ingress: Vec<_> = ingress.iter().map(|ip| json!({"ip": ip})).collect();
        json!({"kind": "Service", "metadata": {"name": format!("svc{number}"), "namespace": format!("ns{number}")},
            "spec": spec, "status": {"loadBalancer": {"ingress": ingress}}})
    };
    let slice = |number: u8, endpoints: &[(&str, &str)]| {
        let endpoint = |(address, node): &(&str, &str)| json!({"addresses": [address], "nodeName": node, "conditions": {"ready": true}});
        let name = format!("svc{number}");
        json!({"kind": "EndpointSlice", "addressType": "IPv4", "ports": [{"name": "p80", "port": 80}],
            "metadata": {"name": name, "namespace": format!("ns{number}"), "labels": {"kubernetes.io/service-name": name}},
            "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>()})
    };
    let local = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"nodePort": 3001}],
        "externalIPs": ["192.168.99.22"], "healthCheckNodePort": 30000});
    let sticky = json!({"type": "LoadBalancer", "ports": [{"nodePort": 3002}],
        "loadBalancerSourceRanges": [" 203.0.113.0/25"], "sessionAffinity": "ClientIP"});
    vec![
        service(1, json!({"ports": [{}]}), &[]),
        service(2, local, &["1.2.3.4"]),
        service(3, json!({"type": "NodePort", "ports": [{"nodePort": 3003}]}), &[]),
        service(4, json!({"type": "NodePort", "externalIPs": ["192.168.99.33"], "ports": [{}]}), &[]),
        service(5, sticky, &["5.6.7.8"]),
        service(6, json!({"ports": [{}]}), &[]),
        slice(1, &[("10.180.0.1", "test-node")]),
        slice(2, &[("10.180.0.2", "other-node")]),
        slice(3, &[("10.180.0.3", "test-node")]),
        slice(4, &[("10.180.0.4", "other-node"), ("10.180.0.5", "test-node")]),
        slice(5, &[("10.180.0.3", "test-node")]),
    ]
}

#[test]
fn the_table_is_that_of_kube_proxy() {
    let scene = Scene::new(&six_services());
    let listed = compile(&scene.sight(), Family::V4).to_string();
    assert_eq!(listed, include_str!("golden.txt"), "{listed}");
}

#[test]
fn both_layouts_send_packets_the_same_way() {
    for seed in 1..=8 {
        let mut numbers = Numbers(seed + 100);
        let objects: Vec<_> = (0..8).flat_map(|number| numbers.service(number)).collect();
        let mut scene = Scene::new(&objects);
        scene.config.masquerade_all = seed == 4;
        if seed == 5 {
            scene.config.detect_local = crate::DetectLocal::ClusterCidr(Vec::new());
        }
        let theirs = Family::ALL.map(|family| compile(&scene.sight(), family));
        let ours = compile_rules(&scene.sight());
        let (theirs, ours) = (Walker::new(&theirs, &scene.node), Walker::new([&ours], &scene.node));
        let near = |probability: f64| (probability * 1e6).round() as u32;
        for packet in packets(8) {
            let way = |walker: &Walker<'_>| {
                let (verdict, shares) = outcome(&walker.trace(&packet).unwrap());
                let shares =
                    shares.iter().map(|share| (share.address, share.masquerade, near(share.probability)));
                (verdict, shares.collect::<Vec<_>>())
            };
            assert_eq!(way(&theirs), way(&ours), "seed {seed}: {packet:?}");
        }
    }
}
