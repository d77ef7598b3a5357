//! How long large changes take, and what a large cluster weighs. Prints figures; run it in release with
//! `-- --ignored --nocapture --test-threads 1`.

use std::time::{Duration, Instant};

use proxy::NodeFacts;
use proxy::nftables::balance::Load;
use proxy::nftables::{Ruleset, compile};
use serde_json::{Value, json};
use service::{Changed, Cluster, Event};

use crate::scene::{Scene, service, slice};

/// How many times one endpoint comes or goes.
const CHANGES: usize = 1000;

fn address(first: u8, number: usize) -> String {
    format!("{first}.{}.{}.{}", 100 + (number >> 16), (number >> 8) & 255, number & 255)
}

/// A Service of this number with so many of its `most` endpoints.
fn objects(number: usize, endpoints: usize, most: usize, spec: Value) -> [Value; 2] {
    let name = format!("s{number}");
    let addresses: Vec<_> = (0..endpoints).map(|index| address(10, number * most + index)).collect();
    let endpoints: Vec<_> = addresses.iter().map(|address| (address.as_str(), "elsewhere")).collect();
    [service(&name, &address(11, number), spec), slice(&name, &name, &endpoints)]
}

#[test]
#[ignore = "prints times and takes a while"]
fn ten_thousand_services() {
    measure(10_000, 3, &json!({}));
}

#[test]
#[ignore = "prints times and takes a while"]
fn ten_thousand_services_with_session_affinity() {
    measure(10_000, 3, &json!({"sessionAffinity": "ClientIP"}));
}

#[test]
#[ignore = "prints times and takes a while"]
fn two_hundred_and_forty_thousand_endpoints() {
    measure(8000, 30, &json!({}));
}

#[test]
#[ignore = "prints times and takes a while"]
fn a_change_costs_the_same_whatever_the_number_of_services() {
    let small = measure(1000, 3, &json!({}));
    let large = measure(30_000, 3, &json!({}));
    if let (Some(small), Some(large)) = (small, large) {
        println!("30,000 Services to 1000: {:.2}", large.as_secs_f64() / small.as_secs_f64());
    }
}

/// Loads many Services of this kind, changes one, and starts again. Returns what one change takes; `None` when not
/// root.
fn measure(services: usize, endpoints: usize, spec: &Value) -> Option<Duration> {
    let mut scene = Scene::new()?;
    let all: Vec<Value> =
        (0..services).flat_map(|number| objects(number, endpoints, endpoints, spec.clone())).collect();
    let loaded = scene.timed(&all);
    println!("load of {services} Services with {endpoints} endpoints: {loaded}");
    let mut times: Vec<_> = (0..CHANGES)
        .map(|round| {
            let change = objects(services / 2, endpoints - (round + 1) % 2, endpoints, spec.clone());
            let start = Instant::now();
            assert!(!scene.apply(&change[1..]).full);
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    let (middle, late) = (times[CHANGES / 2], times[CHANGES * 99 / 100]);
    println!("one endpoint, event to kernel: p50 {middle:?}, p99 {late:?}");
    let start = Instant::now();
    scene.restart();
    println!("restart: {:?}", start.elapsed());
    Some(middle)
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    1024 * line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
}

#[test]
#[ignore = "prints what a cluster weighs; only right when run alone"]
fn ten_thousand_services_with_a_hundred_thousand_endpoints_in_memory() {
    let megabytes = |from: usize| (resident() - from) as f64 / 1e6;
    let empty = resident();
    let (mut cluster, mut changed) = (Cluster::new(), Changed::new());
    for number in 0..10_000 {
        let [service, slice] = objects(number, 10, 10, json!({}));
        cluster.service_event(Event::Apply(serde_json::from_value(service).unwrap()), &mut changed);
        cluster.slice_event(Event::Apply(serde_json::from_value(slice).unwrap()), &mut changed);
    }
    println!("cluster: {:.1} MB", megabytes(empty));
    let before = resident();
    let node = NodeFacts::default();
    let mut ruleset = Ruleset::new();
    for name in &changed {
        let fragment = compile(&cluster.ports(name, &node.viewpoint), &node, &Load::default(), None);
        ruleset.replace(name, fragment);
    }
    ruleset.take_changes();
    println!("ruleset: {:.1} MB; both: {:.1} MB", megabytes(before), megabytes(empty));
}
