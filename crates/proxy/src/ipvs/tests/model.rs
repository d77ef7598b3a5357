//! Random objects: packets go where the model of ipvs mode says.

use crate::explain::{Model, Share, explain, outcome};
use crate::nftables::scene::{Numbers, Scene, packets};
use crate::{Config, ModeName};

const SERVICES: u64 = 8;

/// Endpoints with masquerading and parts per million.
fn shares(shares: &[Share]) -> Vec<(std::net::SocketAddr, bool, u32)> {
    let parts = |share: &Share| (share.address, share.masquerade, (share.probability * 1e6).round() as u32);
    shares.iter().map(parts).collect()
}

#[test]
fn every_packet_goes_the_way_of_the_model() {
    for seed in 1..=12 {
        let mut numbers = Numbers(seed);
        let objects: Vec<_> = (0..SERVICES).flat_map(|number| numbers.service(number)).collect();
        let mut scene = Scene::new(&objects);
        scene.config = Config { mode: ModeName::Ipvs, masquerade_all: seed % 4 == 0, ..scene.config };
        if seed % 5 == 0 {
            scene.config.detect_local = crate::DetectLocal::ClusterCidr(Vec::new());
        }
        let compiled = crate::compile(&scene.sight()).unwrap();
        let (walker, model) = (compiled.tracer(), Model::new(scene.sight()));
        for packet in packets(SERVICES) {
            let branches = walker.trace(&packet).unwrap();
            let ((verdict, found), expected) = (outcome(&branches), model.expect(&packet));
            let steps = branches.iter().map(|branch| &branch.steps).collect::<Vec<_>>();
            let reasons = &expected.reasons;
            assert_eq!(verdict, expected.verdict, "seed {seed}: {packet:?}\n{steps:#?}\n{reasons:?}");
            assert_eq!(
                shares(&found),
                shares(&expected.endpoints),
                "seed {seed}: {packet:?}\n{steps:#?}\n{reasons:?}"
            );
        }
    }
}

#[test]
fn words_say_what_policy_local_means_to_a_virtual_server() {
    let words = |nodes: &[Option<&str>]| {
        let spec = serde_json::json!({"spec": {
            "type": "NodePort", "externalTrafficPolicy": "Local",
            "ports": [{"name": "p80", "port": 80, "nodePort": 3001}],
        }});
        let endpoints: Vec<_> = ["10.180.0.1", "10.180.1.1"].into_iter().zip(nodes.iter().copied()).collect();
        let objects =
            [super::service("ns1", "web", "172.30.0.41", spec), super::slice("ns1", "web", &endpoints)];
        let scene = super::scene(&objects);
        let packet = crate::Packet {
            source: "10.180.0.9".parse().unwrap(),
            destination: "192.168.0.2:3001".parse().unwrap(),
            protocol: service::objects::Protocol::Tcp,
            interface: None,
        };
        let compiled = crate::compile(&scene.sight()).unwrap();
        let answer = explain(&*compiled.tracer(), &Model::new(scene.sight()), &packet).unwrap();
        assert!(!answer.reasons.iter().any(|reason| reason.contains("fault")), "{:?}", answer.reasons);
        answer.reasons[2].clone()
    };
    let both = words(&[Some("test-node"), Some("elsewhere")]);
    assert!(both.starts_with("1 of ") && both.contains("ipvs mode cannot tell them apart"), "{both}");
    let elsewhere = words(&[Some("elsewhere"), Some("elsewhere")]);
    assert!(elsewhere.contains("ipvs mode goes there when this node has none"), "{elsewhere}");
}
