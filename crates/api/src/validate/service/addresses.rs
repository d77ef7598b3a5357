//! Rules of a Service's addresses: cluster IPs and families, external IPs, load balancer ingress.

use std::collections::HashSet;
use std::net::IpAddr;

use serde_json::Value;

use crate::field::FieldError;
use crate::meta;
use crate::validate::addresses::{ip, not_special};
use crate::validate::names;
use crate::validate::report::Report;

const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const FAMILY_POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];
const IP_MODES: [&str; 2] = ["Proxy", "VIP"];

/// `clusterIP`, `clusterIPs`, `ipFamilies` and `ipFamilyPolicy` must agree.
pub(super) fn cluster_ips(spec: &Value, kind: &str, report: &mut Report) {
    families(spec, report);
    if kind == "ExternalName" {
        return;
    }
    let ips = meta::list(spec, &["clusterIPs"]);
    let first = meta::text(spec, &["clusterIP"]);
    let all = &spec["clusterIPs"];
    match (first, ips.first()) {
        ("", Some(_)) => {
            report.invalid("spec.clusterIPs", all, "must be empty when `clusterIP` is not specified");
        }
        (first, Some(listed)) if *listed != first => {
            report.invalid("spec.clusterIPs", all, "first value must match `clusterIP`");
        }
        _ => {}
    }
    let is_none = |ip: &Value| *ip == "None";
    if ips.iter().any(is_none) {
        if ips.len() > 1 {
            report.invalid("spec.clusterIPs", all, "'None' must be the first and only value");
        }
        return;
    }
    if ips.len() > 2 {
        report.invalid("spec.clusterIPs", all, "may only hold up to 2 values");
    }
    let listed: Vec<(String, &Value)> =
        ips.iter().enumerate().map(|(at, ip)| (format!("spec.clusterIPs[{at}]"), ip)).collect();
    let alone = [("spec.clusterIP".to_owned(), &spec["clusterIP"])];
    let candidates = match (listed.is_empty(), first) {
        (true, "" | "None") => return,
        (true, _) => &alone[..],
        (false, _) => &listed[..],
    };
    let families = meta::list(spec, &["ipFamilies"]);
    let mut found: Vec<IpAddr> = Vec::new();
    for (at, (path, value)) in candidates.iter().enumerate() {
        let Some(address) = ip(path, value, report) else { continue };
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        if let Some(expected) = families.get(at).and_then(Value::as_str)
            && expected != family
        {
            let detail = format!("expected an {expected} value as indicated by `ipFamilies[{at}]`");
            report.invalid(path, value, &detail);
        }
        found.push(address);
    }
    if let [one, two] = found[..]
        && one.is_ipv4() == two.is_ipv4()
    {
        report.invalid("spec.clusterIPs", all, "may specify no more than one IP for each IP family");
    }
}

fn families(spec: &Value, report: &mut Report) {
    let mut seen = HashSet::new();
    for (at, family) in meta::list(spec, &["ipFamilies"]).iter().enumerate() {
        let path = format!("spec.ipFamilies[{at}]");
        if !seen.insert(family) {
            report.add(FieldError::duplicate(&path, family.clone()));
        }
        report.one_of(path, family, &FAMILIES);
    }
    report.optional_one_of("spec.ipFamilyPolicy", &spec["ipFamilyPolicy"], &FAMILY_POLICIES);
}

pub(super) fn external_ips(spec: &Value, report: &mut Report) {
    for (at, value) in meta::list(spec, &["externalIPs"]).iter().enumerate() {
        let path = format!("spec.externalIPs[{at}]");
        if let Some(address) = ip(&path, value, report) {
            not_special(&path, value, address, report);
        }
    }
}

/// What a load balancer wrote into the status.
pub(super) fn load_balancer_status(object: &Value, kind: &str, report: &mut Report) {
    let base = "status.loadBalancer.ingress";
    let ingress = meta::list(object, &["status", "loadBalancer", "ingress"]);
    if !ingress.is_empty() && kind != "LoadBalancer" {
        report.forbidden(base, "may only be used when `spec.type` is \"LoadBalancer\"");
        return;
    }
    for (at, entry) in ingress.iter().enumerate() {
        let path = format!("{base}[{at}]");
        let (address, mode) = (&entry["ip"], &entry["ipMode"]);
        if !address.is_null() {
            ip(&format!("{path}.ip"), address, report);
        }
        match (address.is_null(), mode.is_null()) {
            (false, true) => report.required(format!("{path}.ipMode"), "must be specified when `ip` is set"),
            (true, false) => {
                report.forbidden(format!("{path}.ipMode"), "may not be specified when `ip` is not set");
            }
            _ => report.optional_one_of(format!("{path}.ipMode"), mode, &IP_MODES),
        }
        if let Some(hostname) = entry["hostname"].as_str() {
            let path = format!("{path}.hostname");
            report.complaints(&path, hostname, names::dns1123_subdomain(hostname));
            if hostname.parse::<IpAddr>().is_ok() {
                report.invalid(path, &entry["hostname"], "must be a DNS name, not an IP address");
            }
        }
    }
}
