//! Rules of Endpoints and EndpointSlices.

use std::net::IpAddr;

use serde_json::Value;

use super::report::Report;
use super::{addresses, names};
use crate::field::FieldError;
use crate::meta;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const ADDRESS_TYPES: [&str; 3] = ["FQDN", "IPv4", "IPv6"];
const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;
const MAX_HINTS: usize = 8;
const MAX_TOPOLOGY: usize = 16;

pub(super) fn endpoints(object: &Value, report: &mut Report) {
    for (at, subset) in meta::list(object, &["subsets"]).iter().enumerate() {
        let path = format!("subsets[{at}]");
        let (ready, unready) =
            (meta::list(subset, &["addresses"]), meta::list(subset, &["notReadyAddresses"]));
        if ready.is_empty() && unready.is_empty() {
            report.required(&path, "must specify `addresses` or `notReadyAddresses`");
        }
        for (field, list) in [("addresses", ready), ("notReadyAddresses", unready)] {
            for (at, address) in list.iter().enumerate() {
                endpoint_address(&format!("{path}.{field}[{at}]"), address, report);
            }
        }
        let ports = meta::list(subset, &["ports"]);
        for (at, port) in ports.iter().enumerate() {
            let path = format!("{path}.ports[{at}]");
            let name = meta::text(port, &["name"]);
            if name.is_empty() {
                if ports.len() > 1 {
                    report.required(format!("{path}.name"), "");
                }
            } else {
                report.complaints(&format!("{path}.name"), name, names::dns1123_label(name));
            }
            report.port(&format!("{path}.port"), &port["port"]);
            report.one_of(format!("{path}.protocol"), &port["protocol"], &PROTOCOLS);
            app_protocol(&path, port, report);
        }
    }
}

fn endpoint_address(path: &str, address: &Value, report: &mut Report) {
    let ip_path = format!("{path}.ip");
    if let Some(ip) = addresses::ip(&ip_path, &address["ip"], report) {
        addresses::not_special(&ip_path, &address["ip"], ip, report);
    }
    host_and_node(path, address, report);
}

fn host_and_node(path: &str, endpoint: &Value, report: &mut Report) {
    let hostname = meta::text(endpoint, &["hostname"]);
    if !hostname.is_empty() {
        report.complaints(&format!("{path}.hostname"), hostname, names::dns1123_label(hostname));
    }
    if let Some(node) = endpoint["nodeName"].as_str() {
        report.complaints(&format!("{path}.nodeName"), node, names::dns1123_subdomain(node));
    }
}

fn app_protocol(path: &str, port: &Value, report: &mut Report) {
    if let Some(protocol) = port["appProtocol"].as_str() {
        report.complaints(&format!("{path}.appProtocol"), protocol, names::qualified_name(protocol));
    }
}

pub(super) fn endpoint_slice(object: &Value, report: &mut Report) {
    let address_type = meta::text(object, &["addressType"]);
    report.one_of("addressType", &object["addressType"], &ADDRESS_TYPES);
    slice_ports(meta::list(object, &["ports"]), report);
    let endpoints = meta::list(object, &["endpoints"]);
    if endpoints.len() > MAX_ENDPOINTS {
        report.add(FieldError::too_many("endpoints", endpoints.len(), MAX_ENDPOINTS));
        return;
    }
    for (at, endpoint) in endpoints.iter().enumerate() {
        slice_endpoint(&format!("endpoints[{at}]"), address_type, endpoint, report);
    }
}

fn slice_endpoint(path: &str, address_type: &str, endpoint: &Value, report: &mut Report) {
    let list = meta::list(endpoint, &["addresses"]);
    match list.len() {
        0 => report.required(format!("{path}.addresses"), "must contain at least 1 address"),
        1..=MAX_ADDRESSES => {}
        many => report.add(FieldError::too_many(format!("{path}.addresses"), many, MAX_ADDRESSES)),
    }
    let list_path = format!("{path}.addresses");
    for (at, address) in list.iter().enumerate() {
        let path = format!("{list_path}[{at}]");
        let text = address.as_str().unwrap_or_default();
        let parsed: Option<IpAddr> = text.parse().ok();
        match (address_type, parsed) {
            ("IPv4", Some(ip)) if ip.is_ipv4() => addresses::not_special(&path, address, ip, report),
            ("IPv6", Some(ip)) if ip.is_ipv6() => addresses::not_special(&path, address, ip, report),
            ("IPv4" | "IPv6", Some(_)) => {
                report.invalid(&list_path, address, &format!("must be an {address_type} address"));
            }
            ("IPv4" | "IPv6", None) => {
                addresses::ip(&path, address, report);
            }
            ("FQDN", _) => report.complaints(&path, text, names::dns1123_subdomain(text)),
            _ => {}
        }
    }
    host_and_node(path, endpoint, report);
    let topology = &endpoint["deprecatedTopology"];
    report.labels(&format!("{path}.deprecatedTopology"), topology);
    let entries = topology.as_object().map_or(0, serde_json::Map::len);
    if entries > MAX_TOPOLOGY {
        report.add(FieldError::too_many(format!("{path}.deprecatedTopology"), entries, MAX_TOPOLOGY));
    }
    for (field, form) in
        [("forZones", names::qualified_name as names::Form), ("forNodes", names::dns1123_subdomain)]
    {
        let hints = meta::list(endpoint, &["hints", field]);
        let path = format!("{path}.hints.{field}");
        if hints.len() > MAX_HINTS {
            report.add(FieldError::too_many(&path, hints.len(), MAX_HINTS));
            continue;
        }
        for (at, hint) in hints.iter().enumerate() {
            let name = meta::text(hint, &["name"]);
            report.complaints(&format!("{path}[{at}].name"), name, form(name));
            if hints[..at].iter().any(|before| before["name"] == hint["name"]) {
                report.add(FieldError::duplicate(format!("{path}[{at}].name"), name));
            }
        }
    }
}

fn slice_ports(ports: &[Value], report: &mut Report) {
    if ports.len() > MAX_PORTS {
        report.add(FieldError::too_many("ports", ports.len(), MAX_PORTS));
        return;
    }
    let mut seen = std::collections::HashSet::new();
    for (at, port) in ports.iter().enumerate() {
        let path = format!("ports[{at}]");
        let name = meta::text(port, &["name"]);
        if !name.is_empty() {
            report.complaints(&format!("{path}.name"), name, names::dns1123_label(name));
        }
        if !seen.insert(name) {
            report.add(FieldError::duplicate(format!("{path}.name"), name));
        }
        report.one_of(format!("{path}.protocol"), &port["protocol"], &PROTOCOLS);
        app_protocol(&path, port, report);
    }
}

pub(super) fn endpoint_slice_change(new: &Value, old: &Value, report: &mut Report) {
    report.unchanged("addressType", &new["addressType"], &old["addressType"]);
}
