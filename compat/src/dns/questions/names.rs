//! The names that objects suggest: theirs, those in between, and siblings that do not exist.

use std::collections::BTreeSet;
use std::net::IpAddr;

use fastrand::Rng;
use serde_json::Value;

use crate::dns::corefile::Case;

/// Names below a zone that have nothing to do with an object.
const FIXED: [&str; 24] = [
    "",
    "svc",
    "pod",
    "dns",
    "ns.dns",
    "a.dns",
    "x.ns.dns",
    "dns-version",
    "x.dns-version",
    "missing",
    "default",
    "default.missing",
    "missing.svc",
    "missing.pod",
    "a.missing.svc",
    "1-2-3-4.missing.pod",
    "*.default.svc",
    "any.any.svc",
    "_tcp",
    "_http._tcp",
    "_tcp.svc",
    "a.b.c.d.e.f.g.default.svc",
    "www.example.com",
    "www.example.com.default.svc",
];
/// What may stand before the name of a Service.
const BEFORE: [&str; 12] = [
    "missing",
    "_tcp",
    "_udp",
    "_http",
    "_missing._tcp",
    "_http._missing",
    "http.tcp",
    "_http.tcp",
    "_HTTP._TCP",
    "_._",
    "_http._tcp.x",
    "1-2-3-4",
];

/// Names by what they may show.
pub(super) struct Names {
    /// Those of the configuration.
    pub(super) configured: Vec<String>,
    /// Those of objects: most exist.
    pub(super) likely: Vec<String>,
    /// Their siblings: few exist.
    pub(super) others: Vec<String>,
}

/// All names.
pub(super) fn names(random: &mut Rng, objects: &Value, case: &Case) -> Names {
    let (mut likely, mut below, mut addresses) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    below.extend(FIXED.map(str::to_owned));
    for object in objects["items"].as_array().into_iter().flatten() {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (name, namespace) = (text("/metadata/name"), text("/metadata/namespace"));
        match text("/kind") {
            "Namespace" => {
                below.extend(["svc", "pod"].map(|kind| format!("{name}.{kind}")));
                below.extend(
                    ["missing", "1-2-3-4", "10-244-0-300", "fd00--1", "a-b", "1-2-3-4.x", "fd00-244--1"]
                        .map(|host| format!("{host}.{name}.pod")),
                );
            }
            "Service" => {
                let service = format!("{name}.{namespace}.svc");
                below.extend(BEFORE.map(|before| format!("{before}.{service}")));
                below.insert(format!("{service}.{namespace}.svc"));
                for port in object["spec"]["ports"].as_array().into_iter().flatten() {
                    let port_name = port["name"].as_str().unwrap_or_default();
                    let protocol = port["protocol"].as_str().unwrap_or_default().to_ascii_lowercase();
                    likely.insert(format!("_{port_name}._{protocol}.{service}"));
                    below.extend(
                        ["tcp", "udp", "sctp"].map(|other| format!("_{port_name}._{other}.{service}")),
                    );
                }
                likely.insert(service);
                let ips = object["spec"]["clusterIPs"].as_array().into_iter().flatten();
                addresses.extend(ips.filter_map(|ip| ip.as_str()?.parse::<IpAddr>().ok()));
            }
            "EndpointSlice" => {
                let owner = object["metadata"]["labels"]["kubernetes.io/service-name"].as_str();
                let service = format!("{}.{namespace}.svc", owner.unwrap_or_default());
                for endpoint in object["endpoints"].as_array().into_iter().flatten() {
                    let address = endpoint["addresses"][0].as_str().unwrap_or_default();
                    let mut hosts = vec![dashed(address)];
                    for pointer in ["/hostname", "/targetRef/name"] {
                        hosts.extend(endpoint.pointer(pointer).and_then(Value::as_str).map(str::to_owned));
                    }
                    for host in hosts {
                        below.insert(format!("_http._tcp.{host}.{service}"));
                        likely.insert(format!("{host}.{service}"));
                    }
                    addresses.extend(address.parse::<IpAddr>());
                    below.insert(format!("{}.{namespace}.pod", dashed(address)));
                }
            }
            "Pod" => {
                let ips = object["status"]["podIPs"].as_array().into_iter().flatten();
                for ip in ips.filter_map(|ip| ip["ip"].as_str()) {
                    likely.insert(format!("{}.{namespace}.pod", dashed(ip)));
                    below.insert(format!("{}.default.pod", dashed(ip)));
                    addresses.extend(ip.parse::<IpAddr>());
                }
            }
            _ => {}
        }
    }
    let zones = case.zones.iter().filter(|zone| !zone.contains("arpa") && !zone.contains('/'));
    let in_zones = |below: &BTreeSet<String>| -> Vec<String> {
        let zones = zones.clone();
        let name = |below: &String, zone: &str| format!("{below}.{zone}.").trim_start_matches('.').to_owned();
        zones.flat_map(|zone| below.iter().map(move |below| name(below, zone))).collect()
    };
    below.retain(|name| !likely.contains(name));
    let (mut likely, mut others) = (in_zones(&likely), in_zones(&below));
    let unused = ["10.96.255.254", "10.244.9.9", "fd00:96::fffe", "192.0.2.200"].map(parse);
    for address in addresses.union(&BTreeSet::from(unused)) {
        let labels = reverse(*address);
        let parts: Vec<_> = labels.split('.').collect();
        others.extend([format!("x.{labels}"), parts[random.usize(1..parts.len() - 1)..].join(".")]);
        likely.push(labels);
    }
    others.extend(["in-addr.arpa.", "10.in-addr.arpa.", "ip6.arpa.", "x.ip6.arpa."].map(str::to_owned));
    Names { configured: case.names.iter().map(|name| (*name).to_owned()).collect(), likely, others }
}

fn parse(text: &str) -> IpAddr {
    text.parse().unwrap_or(IpAddr::from([0, 0, 0, 0]))
}

/// An address as a label.
fn dashed(address: &str) -> String {
    let dashed = address.replace(['.', ':'], "-");
    // A label does not end with a dash, so an address that ends with zeros gets its last back.
    if dashed.ends_with('-') { dashed + "0" } else { dashed }
}

/// The name of an address (RFC 1035, section 3.5; RFC 3596, section 2.5).
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(ip) => {
            let digits =
                ip.octets().into_iter().rev().map(|byte| format!("{:x}.{:x}.", byte & 15, byte >> 4));
            format!("{}ip6.arpa.", digits.collect::<String>())
        }
    }
}
