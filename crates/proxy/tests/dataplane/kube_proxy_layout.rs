//! kube-proxy's layout of nftables mode, loaded and met by packets.

use nfnetlink::Socket;
use proxy::nftables::kube_proxy::{self, KubeProxy};
use proxy::{Config, Mode};
use serde_json::json;
use service::Family;

use crate::namespace::Namespace;
use crate::scene::{CLIENT, NODE, POD1, POD1_V6, POD2, POD2_V6, Scene, config, service, slice};
use crate::server::ask;

const VIP: &str = "10.96.0.20";
const BOTH: [(&str, &str); 2] = [(POD1, "node"), (POD2, "elsewhere")];

fn mode(node: &Namespace) -> Box<dyn Mode> {
    Box::new(KubeProxy::new(node.run(|| Socket::open().unwrap())))
}

#[test]
fn packets_go_as_kube_proxy_sends_them() {
    let config = Config { kube_proxy_layout: true, ..config() };
    let Some(mut scene) = Scene::in_mode(mode, config) else { return };
    scene.node_facts.service_cidrs = vec!["10.96.0.0/16".parse().unwrap(), "fd00:96::/112".parse().unwrap()];
    let port = json!([{"name": "http", "port": 8080, "nodePort": 31688}]);
    let mut web = service(
        "web",
        VIP,
        json!({
            "clusterIPs": [VIP, "fd00:96::20"], "type": "LoadBalancer", "externalTrafficPolicy": "Local",
            "ports": port, "loadBalancerSourceRanges": ["192.0.2.128/25", "10.0.0.0/8"]
        }),
    );
    web["status"] = json!({"loadBalancer": {"ingress": [{"ip": "198.51.100.8"}]}});
    scene.apply(&[
        web,
        slice("web-1", "web", &BOTH),
        slice("web-6", "web", &[(POD1_V6, "node"), (POD2_V6, "node")]),
        service("sticky", "10.96.0.21", json!({"sessionAffinity": "ClientIP"})),
        slice("sticky-1", "sticky", &BOTH),
        service("idle", "10.96.0.22", json!({})),
    ]);
    assert_eq!(scene.spread(&scene.client, &format!("{VIP}:8080"), 40).len(), 2);
    assert_eq!(scene.spread(&scene.client, "[fd00:96::20]:8080", 40).len(), 2);
    assert_eq!(scene.spread(&scene.node, &format!("{NODE}:31688"), 40).len(), 2);
    let answer = ask(&scene.client, &format!("{NODE}:31688")).unwrap();
    assert_eq!((answer.server.as_str(), answer.client.to_string().as_str()), ("pod1", CLIENT));
    assert_eq!(scene.spread(&scene.client, "10.96.0.21:8080", 20).len(), 1);
    assert!(ask(&scene.client, "198.51.100.8:8080").is_err(), "not in its source ranges");
    assert!(ask(&scene.pod1, "198.51.100.8:8080").is_ok());
    for refused in ["10.96.0.22:8080", "10.96.0.20:81"] {
        let error = ask(&scene.pod1, refused).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{refused}");
    }
    assert_eq!(ask(&scene.pod1, "10.96.0.77:80").unwrap_err().kind(), std::io::ErrorKind::TimedOut);
}

#[test]
fn the_kernel_holds_what_was_compiled() {
    let config = Config { kube_proxy_layout: true, ..config() };
    let Some(mut scene) = Scene::in_mode(mode, config) else { return };
    scene.apply(&[service("web", VIP, json!({"sessionAffinity": "ClientIP"})), slice("web-1", "web", &BOTH)]);
    for family in Family::ALL {
        let compiled = scene.with_sight(|sight| kube_proxy::compile(sight, family));
        let table = compiled.table().unwrap();
        let held = scene.node.run(|| Socket::open().unwrap().ruleset(table).unwrap());
        // The kernel says how many elements a dynamic set without a limit may have.
        let held = held.to_string().replace("\t\tsize 65535\n", "");
        assert!(held == compiled.to_string(), "{held}\n{compiled}");
    }
    let listed = scene.nft("list table ip kube-proxy");
    assert!(listed.contains("numgen random mod 2 vmap"), "{listed}");
    kube_proxy::cleanup(&mut scene.node.run(|| Socket::open().unwrap())).unwrap();
    assert_eq!(scene.nft("list tables"), "");
}
