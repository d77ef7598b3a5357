//! Random objects: packets go where the model says, and changes add up to a fresh compilation.

use std::collections::BTreeMap;

use service::Event;

use super::*;
use crate::explain::{Share, outcome};
use crate::nftables::scene::{Numbers, Scene, packets};
use crate::packet::Tracer;
use crate::userspace::proxy_ports::Target;

const SERVICES: u64 = 8;

fn scene(numbers: &mut Numbers) -> Scene {
    let objects: Vec<_> = (0..SERVICES).flat_map(|number| numbers.service(number)).collect();
    let mut scene = Scene::new(&objects);
    scene.config.mode = ModeName::Userspace;
    scene
}

/// Endpoints with masquerading and parts per million.
fn shares(shares: &[Share]) -> Vec<(std::net::SocketAddr, bool, u32)> {
    let parts = |share: &Share| (share.address, share.masquerade, (share.probability * 1e6).round() as u32);
    shares.iter().map(parts).collect()
}

#[test]
fn every_packet_goes_the_way_of_the_model() {
    for seed in 1..=12 {
        let mut scene = scene(&mut Numbers(seed));
        if seed % 5 == 0 {
            scene.config.detect_local = crate::DetectLocal::ClusterCidr(Vec::new());
        }
        let sight = scene.sight();
        let (rules, endpoints) = (compile(&sight), endpoints(&sight));
        let (walker, model) = (Walker::new(&rules, &endpoints, &scene.node), Model::new(sight));
        for packet in packets(SERVICES) {
            let branches = walker.trace(&packet).unwrap();
            let sum: f64 = branches.iter().map(|branch| branch.probability).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{packet:?}");
            let ((verdict, found), expected) = (outcome(&branches), model.expect(&packet));
            let steps = branches.iter().map(|branch| &branch.steps).collect::<Vec<_>>();
            assert_eq!(
                verdict, expected.verdict,
                "seed {seed}: {packet:?}\n{steps:#?}\n{:?}",
                expected.reasons
            );
            assert_eq!(shares(&found), shares(&expected.endpoints), "seed {seed}: {packet:?}\n{steps:#?}");
        }
    }
}

#[test]
fn any_sequence_of_changes_gives_what_a_fresh_compilation_gives() {
    let mut numbers = Numbers(3);
    let mut scene = scene(&mut numbers);
    let mut ports = BTreeMap::new();
    let mut chains = Family::ALL.map(Chains::new);
    let mut held = Family::ALL.map(|_| None);
    for step in 0..300 {
        let mut changed = service::Changed::new();
        let number = numbers.below(SERVICES);
        let objects = numbers.service(number);
        match numbers.below(4) {
            0 => {
                let gone = serde_json::from_value(objects[0].clone()).unwrap();
                scene.cluster.service_event(Event::Delete(gone), &mut changed);
            }
            _ => objects.iter().for_each(|object| changed.extend(scene.apply(object))),
        }
        // A proxy port keeps its port as long as it is open.
        let mut proxy_ports = ProxyPorts::new();
        for (proxy_port, address) in wanted(&scene.sight()) {
            let next = 20_000 + ports.len() as u16;
            let port = *ports.entry(proxy_port.clone()).or_insert(next);
            proxy_ports.insert(proxy_port, Target { port, address });
        }
        let sight = scene.sight();
        let fresh = tables(&sight, &proxy_ports);
        for (index, (_, fresh)) in fresh.iter().enumerate() {
            let differs = chains[index].update(&sight, &Touched::Services(&changed), &proxy_ports);
            if differs {
                held[index] = Some(chains[index].tables());
            }
            assert_eq!(held[index].as_ref(), Some(fresh), "step {step}");
        }
    }
}
