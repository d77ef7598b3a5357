//! EndpointSlices and Pods. Addresses come from a small pool, so that many things share one.

use std::net::Ipv6Addr;

use fastrand::Rng;
use serde_json::{Value, json};

use super::{Created, NAMESPACES, choose};

/// Who writes slices.
const MANAGERS: [&str; 3] =
    ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io", "by-hand"];
const LONG_HOST: &str = "host-of-sixty-three-bytes-is-the-longest-that-a-label-can-be-zz";
/// How many Pods a namespace has.
const PODS: u8 = 6;

/// One slice: of this family its addresses are, and some are not ready.
pub(super) fn slice(
    random: &mut Rng,
    (namespace, service, number): (&str, &str, usize),
    ports: &Value,
    publishes: bool,
) -> Value {
    let family = choose(random, &["IPv4", "IPv4", "IPv4", "IPv6", "IPv6"]);
    let mut served = Vec::new();
    for port in ports.as_array().into_iter().flatten() {
        if random.u8(..8) != 0 {
            let name = port["name"].as_str().unwrap_or_default();
            served.push(json!({"name": name, "port": 8000 + random.u16(..3), "protocol": port["protocol"]}));
        }
    }
    let endpoints: Vec<_> =
        (0..random.usize(..5)).map(|_| endpoint(random, family, (namespace, service), publishes)).collect();
    let labels = json!({
        "kubernetes.io/service-name": service,
        "endpointslice.kubernetes.io/managed-by": choose(random, &MANAGERS),
    });
    // The name of a slice is no label, but the two together must not be too long for the test either.
    let name = format!("{}-{number}", &service[..service.len().min(50)]);
    json!({
        "kind": "EndpointSlice", "addressType": family,
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "ports": served, "endpoints": endpoints,
    })
}

fn endpoint(random: &mut Rng, family: &str, (namespace, service): (&str, &str), publishes: bool) -> Value {
    let host = random.u8(1..12);
    let address = match family {
        "IPv4" => ipv4(namespace, host),
        // Such addresses have runs of zeros inside and at the end.
        "IPv6" => choose(
            random,
            &[
                Ipv6Addr::new(0xfd00, 0x244, 0, 0, 0, 0, 0, u16::from(host)),
                Ipv6Addr::new(0xfd00, 0x244, u16::from(host), 0, 0, 0, 0, 0),
                Ipv6Addr::new(0xfd00, 0x244, 1, 2, 3, 4, 5, u16::from(host)),
            ],
        )
        .to_string(),
        _ => format!("host-{host}.example.com"),
    };
    let conditions = match random.u8(..10) {
        0 => json!({"ready": publishes, "serving": true, "terminating": true}),
        1 => json!({"ready": false, "serving": false, "terminating": true}),
        2 => json!({"ready": publishes, "serving": false, "terminating": false}),
        3 => json!({"ready": true, "serving": true, "terminating": false}),
        4 => json!({}),
        _ => json!({"ready": true}),
    };
    let mut endpoint = json!({"addresses": [address], "conditions": conditions});
    match random.u8(..8) {
        0 => endpoint["hostname"] = format!("{service:.40}-{}", host % 3).into(),
        1 => endpoint["hostname"] = "web-0".into(),
        2 => endpoint["hostname"] = LONG_HOST.into(),
        // Looks like an address that is another one.
        3 => endpoint["hostname"] = "10-244-1-1".into(),
        _ => {}
    }
    match random.u8(..5) {
        0 | 1 => endpoint["targetRef"] = target(namespace, &format!("pod-{host}")),
        // A Pod's name may be longer than a label.
        2 => endpoint["targetRef"] = target(namespace, &format!("{}-{host}", "long".repeat(20))),
        3 => endpoint["targetRef"] = target(namespace, &format!("dotted.pod-{host}")),
        _ => {}
    }
    if random.u8(..8) == 0 {
        endpoint["nodeName"] = "node-a".into();
    }
    endpoint
}

fn target(namespace: &str, name: &str) -> Value {
    json!({"kind": "Pod", "namespace": namespace, "name": name})
}

/// An address of a namespace; two namespaces share them.
fn ipv4(namespace: &str, host: u8) -> String {
    format!("10.244.{}.{host}", u8::from(namespace == NAMESPACES[0]))
}

/// Pods with and without an address; one has the address that the questions come from.
pub(super) fn pods(random: &mut Rng) -> Vec<Created> {
    let mut pods = Vec::new();
    for namespace in NAMESPACES {
        for number in 0..PODS {
            let addresses = match number {
                0 => vec![],
                1 => vec![ipv4(namespace, number), format!("fd00:244::{number}")],
                _ => vec![ipv4(namespace, random.u8(1..20))],
            };
            pods.push(pod(random, namespace, &format!("pod-{number}"), &addresses));
        }
    }
    pods.push(pod(random, NAMESPACES[1], "asker", &["127.0.0.1".to_owned()]));
    pods
}

fn pod(random: &mut Rng, namespace: &str, name: &str, addresses: &[String]) -> Created {
    let asks = name == "asker";
    let object = json!({
        "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": {"nodeName": "node-a", "containers": [{"name": "c", "image": "registry.example/c"}]},
    });
    let phase =
        if asks { "Running" } else { choose(random, &["Running", "Running", "Succeeded", "Pending"]) };
    let ips: Vec<_> = addresses.iter().map(|address| json!({"ip": address})).collect();
    let mut status = json!({"phase": phase, "podIPs": ips});
    if let Some(first) = addresses.first() {
        status["podIP"] = first.as_str().into();
    }
    Created {
        collection: format!("/api/v1/namespaces/{namespace}/pods"),
        object,
        status: (!addresses.is_empty()).then_some(status),
    }
}
