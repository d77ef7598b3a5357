//! How long large changes take. Prints times; run it with `-- --ignored --nocapture`.

use std::time::Instant;

use serde_json::{Value, json};

use crate::scene::{Scene, service, slice};

const ENDPOINTS: usize = 3;

fn address(first: u8, number: usize) -> String {
    format!("{first}.{}.{}.{}", 100 + (number >> 16), (number >> 8) & 255, number & 255)
}

fn objects(number: usize, endpoints: usize, spec: Value) -> [Value; 2] {
    let name = format!("s{number}");
    let addresses: Vec<_> = (0..endpoints).map(|index| address(10, number * ENDPOINTS + index)).collect();
    let endpoints: Vec<_> = addresses.iter().map(|address| (address.as_str(), "elsewhere")).collect();
    [service(&name, &address(11, number), spec), slice(&name, &name, &endpoints)]
}

#[test]
#[ignore = "prints times and takes a while"]
fn ten_thousand_services() {
    measure(10_000, &json!({}));
}

#[test]
#[ignore = "prints times and takes a while"]
fn a_thousand_services_with_session_affinity() {
    measure(1000, &json!({"sessionAffinity": "ClientIP"}));
}

/// Loads many Services of this kind, changes one, and starts again.
fn measure(services: usize, spec: &Value) {
    let Some(mut scene) = Scene::new() else { return };
    let all: Vec<Value> = (0..services).flat_map(|number| objects(number, ENDPOINTS, spec.clone())).collect();
    let loaded = scene.timed(&all);
    println!("load of {services} Services with {ENDPOINTS} endpoints: {loaded}");
    let mut times: Vec<_> = (0..200)
        .map(|round| {
            let change = objects(services / 2, ENDPOINTS - (round + 1) % 2, spec.clone());
            let start = Instant::now();
            assert!(!scene.apply(&change[1..]).full);
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("one endpoint, event to kernel: p50 {:?}, p99 {:?}", times[100], times[197]);
    let start = Instant::now();
    scene.restart();
    println!("restart: {:?}", start.elapsed());
}
