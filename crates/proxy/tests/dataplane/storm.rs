//! A storm of bad objects through the whole proxy: each stands for itself only.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use proxy::configuration::Duties;
use serde_json::{Value, json};

use crate::api::Api;
use crate::follow::{Running, wait_for};
use crate::iptables;
use crate::scene::{NODE, POD1, POD1_V6, POD2, Scene, service, slice};
use crate::server::{ask, serve};

/// The Service that nothing is wrong with.
const GOOD: &str = "10.96.0.20:8080";
/// A port of the node that no Service has.
const SERVED: u16 = 9000;
const PORTS: u16 = 3000;
const ADDRESSES: usize = 1000;

/// Objects that cannot all be meant.
struct Gust {
    objects: Vec<Value>,
    /// What an Event says of the first of them, if it is a mistake at all.
    said: Option<&'static str>,
    /// Where pod1 answers all the same.
    front: Option<String>,
}

/// A Service of this number with an endpoint, each with what is wrong with it.
fn wrong(number: usize, spec: Value, slice_fields: Value) -> Vec<Value> {
    let (name, address) = (format!("bad-{number}"), format!("10.96.1.{number}"));
    let mut slice = slice(&format!("{name}-1"), &name, &[(POD1, "node")]);
    for (field, value) in slice_fields.as_object().unwrap() {
        slice[field] = value.clone();
    }
    vec![service(&name, &address, spec), slice]
}

/// The slice is what is wrong, so it comes first.
fn wrong_slice(number: usize, fields: Value) -> Vec<Value> {
    wrong(number, json!({}), fields).into_iter().rev().collect()
}

fn gust(objects: Vec<Value>, said: Option<&'static str>, front: Option<&str>) -> Gust {
    Gust { objects, said, front: front.map(str::to_owned) }
}

fn storm() -> Vec<Gust> {
    let good = json!({"name": "http", "port": 8080});
    let beside = |bad: Value| json!({"ports": [bad, good]});
    let nobody = slice("nobody-1", "nobody", &[(POD1, "node")]);
    let node = json!({"kind": "Node", "metadata": {"name": "other"}, "status": {"addresses": "none"}});
    vec![
        gust(
            wrong(1, beside(json!({"name": "zero", "port": 0})), json!({})),
            Some("spec.ports[0].port: 0 is no port"),
            Some("10.96.1.1:8080"),
        ),
        gust(
            wrong(2, beside(json!({"name": "big", "port": 70_000, "nodePort": 70_000})), json!({})),
            Some("spec.ports[0].port: 70000 is no port"),
            Some("10.96.1.2:8080"),
        ),
        gust(
            wrong(3, json!({"externalIPs": ["10.96.0.300"], "clusterIPs": ["10.96.1.3", "::g"]}), json!({})),
            Some("spec.clusterIPs: ::g is no IP address"),
            Some("10.96.1.3:8080"),
        ),
        gust(
            wrong_slice(4, json!({"endpoints": [{"addresses": [POD1_V6]}, {"addresses": [POD1]}]})),
            Some("endpoints[0].addresses"),
            Some("10.96.1.4:8080"),
        ),
        gust(
            wrong_slice(5, json!({"ports": [{"name": "zero", "port": 0}, {"name": "http", "port": 80}]})),
            Some("ports[0]: 0 is no port"),
            Some("10.96.1.5:8080"),
        ),
        gust(many_ports(6), None, Some(&format!("10.96.1.6:{}", 9999 + PORTS))),
        gust(wrong_slice(7, json!({"endpoints": many_addresses()})), None, None),
        gust(vec![nobody], None, None),
        gust(longest_names(8), None, Some("10.96.1.8:8080")),
        gust(wrong(9, json!({"externalIPs": [NODE]}), json!({})), None, Some(&format!("{NODE}:8080"))),
        gust(wrong(10, json!({"ports": "http"}), json!({})), Some("expected a sequence"), None),
        gust(wrong_slice(11, json!({"endpoints": "none"})), Some("expected a sequence"), None),
        gust(vec![node], None, None),
    ]
}

fn many_ports(number: usize) -> Vec<Value> {
    let names = || (0..PORTS).map(|port| (format!("p{port}"), 10_000 + port));
    let of_service: Vec<_> = names().map(|(name, port)| json!({"name": name, "port": port})).collect();
    let of_slice: Vec<_> = names().map(|(name, _)| json!({"name": name, "port": 80})).collect();
    wrong(number, json!({"ports": of_service}), json!({"ports": of_slice}))
}

fn many_addresses() -> Vec<Value> {
    let address = |index: usize| format!("10.245.{}.{}", index / 250, 1 + index % 250);
    (0..ADDRESSES).map(|index| json!({"addresses": [address(index)]})).collect()
}

/// Labels of DNS have 63 bytes, names of objects 253 (RFC 1123).
fn longest_names(number: usize) -> Vec<Value> {
    let label = "n".repeat(63);
    let mut objects = wrong(number, json!({"ports": [{"name": label, "port": 8080}]}), json!({}));
    for object in &mut objects {
        object["metadata"]["namespace"] = json!(label);
    }
    objects[0]["metadata"]["name"] = json!(label);
    objects[1]["metadata"]["name"] = json!("s".repeat(253));
    objects[1]["metadata"]["labels"] = json!({"kubernetes.io/service-name": label});
    objects[1]["ports"][0]["name"] = json!(label);
    objects
}

/// What is counted under this name.
fn metric(at: SocketAddr, name: &str) -> f64 {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is missing in {text}")).parse().unwrap()
}

/// An address on loopback that is free.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn others_go_on(scene: Option<Scene>, at_start: bool) {
    let Some(scene) = scene else { return };
    serve(&scene.node, "node", SERVED);
    let api = Api::start();
    api.put(service("web", "10.96.0.20", json!({})));
    api.put(slice("web-1", "web", &[(POD1, "node")]));
    let storm = storm();
    if at_start {
        storm.iter().flat_map(|gust| &gust.objects).for_each(|object| api.put(object.clone()));
    }
    let metrics = free_address();
    let proxy = Running::start(&scene, &api, Duties { metrics: Some(metrics), ..Duties::none() });
    println!("first answer after {:?}", wait_for(&scene, GOOD, "pod1"));
    for (round, gust) in storm.iter().enumerate() {
        if !at_start {
            gust.objects.iter().for_each(|object| api.put(object.clone()));
        }
        let (address, server) = [(POD2, "pod2"), (POD1, "pod1")][round % 2];
        api.put(slice("web-1", "web", &[(address, "node")]));
        let took = wait_for(&scene, GOOD, server);
        println!("{}: the others followed after {took:?}", gust.objects[0]["metadata"]["name"]);
        if let Some(front) = &gust.front {
            wait_for(&scene, front, "pod1");
        }
    }
    let node = ask(&scene.pod1, &format!("{NODE}:{SERVED}")).unwrap();
    assert_eq!(node.server, "node", "the node's own ports are its own still");

    let mistakes: Vec<_> = storm.iter().filter_map(|gust| Some((&gust.objects[0], gust.said?))).collect();
    let counted = metric(metrics, "portolan_proxy_invalid_fields_total");
    assert!(counted >= mistakes.len() as f64, "{counted} problems were counted");
    for (object, said) in mistakes {
        let name = object["metadata"]["name"].as_str().unwrap();
        assert!(wait_for_event(&api, name, said), "no Event on {name} says {said}: {:?}", api.events());
    }

    api.put(service("bad-10", "10.96.1.10", json!({})));
    println!("what is mended works after {:?}", wait_for(&scene, "10.96.1.10:8080", "pod1"));
    proxy.stop();
}

fn wait_for_event(api: &Api, object: &str, said: &str) -> bool {
    let start = Instant::now();
    let there = || api.events().iter().any(|(name, message)| name == object && message.contains(said));
    while !there() && start.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(20));
    }
    there()
}

#[test]
fn bad_objects_that_come_while_the_proxy_runs_stop_nobody_else() {
    others_go_on(Scene::new(), false);
}

#[test]
fn bad_objects_that_are_there_when_the_proxy_starts_stop_nobody_else() {
    others_go_on(Scene::new(), true);
}

#[test]
fn bad_objects_stop_nobody_else_in_iptables_mode() {
    others_go_on(iptables::scene(), true);
}
