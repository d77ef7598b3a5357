//! Services and their endpoints.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, NONE, SELECTOR, UNKNOWN, abridged, age, column, labels, name};
use crate::meta;

pub(super) const SERVICE: &[Column] = &[
    NAME,
    column(
        "Type",
        "string",
        "How the Service is reached: ClusterIP, NodePort, LoadBalancer or ExternalName.",
    ),
    column("Cluster-IP", "string", "The address inside the cluster; None for a headless Service."),
    column("External-IP", "string", "The addresses outside the cluster."),
    column("Port(s)", "string", "Port, node port and protocol of each port."),
    AGE,
    SELECTOR,
];

pub(super) fn service(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let cluster_ip = spec["clusterIPs"][0].as_str().or(spec["clusterIP"].as_str());
    vec![
        name(object),
        json!(meta::text(spec, &["type"])),
        json!(cluster_ip.unwrap_or(NONE)),
        json!(external_ip(object)),
        json!(ports(spec)),
        age(object, now),
        json!(labels(&spec["selector"])),
    ]
}

fn external_ip(object: &Value) -> String {
    let spec = &object["spec"];
    let external: Vec<&str> = meta::list(spec, &["externalIPs"]).iter().filter_map(Value::as_str).collect();
    match meta::text(spec, &["type"]) {
        "ClusterIP" | "NodePort" if external.is_empty() => NONE.to_owned(),
        "ClusterIP" | "NodePort" => external.join(","),
        "LoadBalancer" => {
            let ingress = meta::list(object, &["status", "loadBalancer", "ingress"]).iter();
            let balanced: BTreeSet<&str> =
                ingress.filter_map(|entry| entry["ip"].as_str().or(entry["hostname"].as_str())).collect();
            let all: Vec<&str> = balanced.into_iter().chain(external).collect();
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        "ExternalName" => meta::text(spec, &["externalName"]).to_owned(),
        _ => UNKNOWN.to_owned(),
    }
}

fn ports(spec: &Value) -> String {
    let ports: Vec<String> = meta::list(spec, &["ports"])
        .iter()
        .map(|port| {
            let protocol = meta::text(port, &["protocol"]);
            match port["nodePort"].as_i64() {
                Some(node_port) if node_port > 0 => format!("{}:{node_port}/{protocol}", port["port"]),
                _ => format!("{}/{protocol}", port["port"]),
            }
        })
        .collect();
    if ports.is_empty() { NONE.to_owned() } else { ports.join(",") }
}

pub(super) const ENDPOINTS: &[Column] =
    &[NAME, column("Endpoints", "string", "The first addresses and ports that serve."), AGE];

pub(super) fn endpoints(object: &Value, now: Timestamp) -> Vec<Value> {
    let subsets = meta::list(object, &["subsets"]);
    let mut all = Vec::new();
    for subset in subsets {
        let addresses = meta::list(subset, &["addresses"]).iter().map(|one| meta::text(one, &["ip"]));
        match meta::list(subset, &["ports"]) {
            [] => all.extend(addresses.map(str::to_owned)),
            ports => {
                for port in ports {
                    all.extend(addresses.clone().map(|ip| host_port(ip, &port["port"])));
                }
            }
        }
    }
    let shown = if subsets.is_empty() { NONE.to_owned() } else { abridged(&all) };
    vec![name(object), json!(shown), age(object, now)]
}

fn host_port(ip: &str, port: &Value) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

pub(super) const ENDPOINT_SLICE: &[Column] = &[
    NAME,
    column("AddressType", "string", "What the addresses are: IPv4, IPv6 or FQDN."),
    column("Ports", "string", "The first ports that every endpoint serves."),
    column("Endpoints", "string", "The first addresses of the endpoints."),
    AGE,
];

pub(super) fn endpoint_slice(object: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = meta::list(object, &["ports"])
        .iter()
        .map(|port| match (port["port"].as_i64(), port["name"].as_str()) {
            (Some(number), _) => number.to_string(),
            (None, Some(name)) => name.to_owned(),
            (None, None) => "*".to_owned(),
        })
        .collect();
    let addresses: Vec<String> = meta::list(object, &["endpoints"])
        .iter()
        .flat_map(|endpoint| meta::list(endpoint, &["addresses"]))
        .filter_map(|address| address.as_str().map(str::to_owned))
        .collect();
    let or_unset = |all: &[String]| match abridged(all) {
        text if text.is_empty() => "<unset>".to_owned(),
        text => text,
    };
    vec![
        name(object),
        json!(meta::text(object, &["addressType"])),
        json!(or_unset(&ports)),
        json!(or_unset(&addresses)),
        age(object, now),
    ]
}
