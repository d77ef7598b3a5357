//! NodePorts at 127.0.0.1 and ::1 in nftables mode (KEP-6032).

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use proxy::{Config, Localhost, Touched};
use serde_json::json;

use crate::scene::{CLIENT, NODE, POD1, POD1_V6, POD2, POD2_V6, Scene, config, service, slice};
use crate::server::{Asker, Connection, ask};

const V4: &str = "127.0.0.1:31688";
const V6: &str = "[::1]:31688";
const BOTH: [(&str, &str); 2] = [(POD1, "node"), (POD2, "elsewhere")];

/// Lets the listeners follow what the scene knows. They are started by the thread that tells them.
fn follow(scene: &Scene, localhost: &mut Localhost) {
    scene.with_sight(|sight| scene.node.run(|| localhost.follow(sight, &Touched::Everything)));
}

/// Asks until the answer is as wanted, for a while.
fn wait_until(mut is_so: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if is_so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

#[test]
fn a_node_port_is_open_at_localhost_as_long_as_it_has_endpoints() {
    let Some(mut scene) = Scene::new() else { return };
    let spec = json!({
        "type": "NodePort", "externalTrafficPolicy": "Local", "clusterIPs": ["10.96.0.20", "fd00:96::20"],
        "ports": [{"name": "http", "port": 8080, "nodePort": 31688}]
    });
    let web = service("web", "10.96.0.20", spec);
    scene.apply(&[
        web.clone(),
        slice("web-1", "web", &BOTH),
        slice("web-6", "web", &[(POD1_V6, "node"), (POD2_V6, "node")]),
    ]);
    let mut localhost = Localhost::new();
    follow(&scene, &mut localhost);
    for front in [V4, V6] {
        assert!(wait_until(|| ask(&scene.node, front).is_ok()), "{front}");
        assert_eq!(scene.spread(&scene.node, front, 4).len(), 2, "{front}: endpoints anywhere");
    }
    assert!(ask(&scene.client, &format!("{NODE}:31688")).is_ok(), "the rules serve the rest");
    let mut lasting = Connection::open(&scene.node, V4).unwrap();
    let server = lasting.ask().unwrap().server;
    scene.apply(&[slice("web-1", "web", &[])]);
    follow(&scene, &mut localhost);
    assert!(wait_until(
        || ask(&scene.node, V4).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    ));
    assert_eq!(lasting.ask().unwrap().server, server, "an open connection goes on");
    scene.delete(&[web]);
    follow(&scene, &mut localhost);
    assert!(wait_until(|| ask(&scene.node, V6).is_err()));
}

#[test]
fn udp_is_refused_at_localhost() {
    let Some(mut scene) = Scene::new() else { return };
    let ports = json!([{"name": "http", "port": 53, "nodePort": 31653, "protocol": "UDP"}]);
    let mut endpoints = slice("dns-1", "dns", &BOTH);
    endpoints["ports"][0]["protocol"] = json!("UDP");
    scene.apply(&[service("dns", "10.96.0.20", json!({"type": "NodePort", "ports": ports})), endpoints]);
    let mut localhost = Localhost::new();
    follow(&scene, &mut localhost);
    let error = Asker::new(&scene.node, "127.0.0.1:31653").ask().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_port_that_is_taken_is_served_once_it_is_free() {
    let Some(mut scene) = Scene::new() else { return };
    let holder = scene.node.run(|| TcpListener::bind(V4)).unwrap();
    let ports = json!([{"name": "http", "port": 8080, "nodePort": 31688}]);
    scene.apply(&[
        service("web", "10.96.0.20", json!({"type": "NodePort", "ports": ports})),
        slice("web-1", "web", &BOTH),
    ]);
    let mut localhost = Localhost::new();
    follow(&scene, &mut localhost);
    std::thread::sleep(Duration::from_millis(20));
    drop(holder);
    assert!(wait_until(|| ask(&scene.node, V4).is_ok()));
}

#[test]
fn switched_off_nothing_listens() {
    let off = Config { localhost_node_ports: false, ..config() };
    let Some(mut scene) = Scene::in_nftables_mode(off) else { return };
    let ports = json!([{"name": "http", "port": 8080, "nodePort": 31688}]);
    scene.apply(&[
        service("web", "10.96.0.20", json!({"type": "NodePort", "ports": ports})),
        slice("web-1", "web", &BOTH),
    ]);
    let mut localhost = Localhost::new();
    follow(&scene, &mut localhost);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(ask(&scene.node, V4).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(
        ask(&scene.client, &format!("{NODE}:31688")).is_ok_and(|answer| answer.client.to_string() != CLIENT)
    );
}
