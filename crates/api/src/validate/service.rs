//! Rules of Services (`validateService` and `ValidateServiceUpdate` in `pkg/apis/core/validation`).

mod addresses;
mod change;

use std::collections::HashSet;

use serde_json::Value;

use super::names;
use super::report::Report;
use crate::field::FieldError;
use crate::meta;

pub(super) use change::service_change;

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const AFFINITIES: [&str; 2] = ["ClientIP", "None"];
const TRAFFIC_POLICIES: [&str; 2] = ["Cluster", "Local"];
const DISTRIBUTIONS: [&str; 3] = ["PreferClose", "PreferSameZone", "PreferSameNode"];
/// The longest session affinity, in seconds: a day.
const MAX_AFFINITY: i64 = 86_400;

pub(super) fn service(object: &Value, report: &mut Report) {
    topology_annotations(object, report);
    let spec = &object["spec"];
    let kind = meta::text(spec, &["type"]);
    let headless = meta::text(spec, &["clusterIP"]) == "None";
    if meta::list(spec, &["ports"]).is_empty() && !headless && kind != "ExternalName" {
        report.required("spec.ports", "");
    }
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let detail = format!("may not be set to 'None' for {kind} services");
            report.invalid("spec.clusterIPs[0]", &spec["clusterIP"], &detail);
        }
        "ExternalName" => external_name(spec, report),
        _ => {}
    }
    ports(spec, kind, report);
    report.labels("spec.selector", &spec["selector"]);
    session_affinity(spec, report);
    addresses::cluster_ips(spec, kind, report);
    addresses::external_ips(spec, report);
    report.one_of("spec.type", &spec["type"], &TYPES);
    load_balancer(object, kind, report);
    traffic_policies(spec, kind, report);
    addresses::load_balancer_status(object, kind, report);
}

fn topology_annotations(object: &Value, report: &mut Report) {
    const MODE: &str = "service.kubernetes.io/topology-mode";
    const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
    if let (Some(mode), Some(hints)) = (meta::annotation(object, MODE), meta::annotation(object, HINTS))
        && mode != hints
    {
        let detail = format!("must match annotations[{HINTS}] when both are specified");
        report.invalid(format!("metadata.annotations[{MODE}]"), &Value::from(mode), &detail);
    }
}

fn external_name(spec: &Value, report: &mut Report) {
    for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        let value = &spec[field];
        if !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()) {
            report.forbidden(format!("spec.{field}"), "may not be set for ExternalName services");
        }
    }
    let name = meta::text(spec, &["externalName"]);
    if name.is_empty() {
        report.required("spec.externalName", "");
    } else {
        let bare = name.strip_suffix('.').unwrap_or(name);
        report.complaints("spec.externalName", bare, names::dns1123_subdomain(bare));
    }
}

fn ports(spec: &Value, kind: &str, report: &mut Report) {
    let ports = meta::list(spec, &["ports"]);
    let (mut seen_names, mut seen_ports, mut seen_node_ports) =
        (HashSet::new(), HashSet::new(), HashSet::new());
    for (at, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{at}]");
        let name = meta::text(port, &["name"]);
        if name.is_empty() {
            if ports.len() > 1 {
                report.required(format!("{path}.name"), "");
            }
        } else {
            report.complaints(&format!("{path}.name"), name, names::dns1123_label(name));
            if !seen_names.insert(name) {
                report.add(FieldError::duplicate(format!("{path}.name"), name));
            }
        }
        report.port(&format!("{path}.port"), &port["port"]);
        report.one_of(format!("{path}.protocol"), &port["protocol"], &PROTOCOLS);
        match &port["targetPort"] {
            Value::String(target) => {
                report.complaints(&format!("{path}.targetPort"), target, names::port_name(target));
            }
            number => report.port(&format!("{path}.targetPort"), number),
        }
        if let Some(protocol) = port["appProtocol"].as_str() {
            report.complaints(&format!("{path}.appProtocol"), protocol, names::qualified_name(protocol));
        }
        let node_port = port["nodePort"].as_i64().unwrap_or(0);
        if node_port != 0 && kind == "ClusterIP" {
            report.forbidden(format!("{path}.nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
        let protocol = meta::text(port, &["protocol"]);
        if node_port != 0 && !seen_node_ports.insert((protocol, node_port)) {
            report.add(FieldError::duplicate(format!("{path}.nodePort"), node_port));
        }
        let number = port["port"].as_i64().unwrap_or(0);
        if !seen_ports.insert((protocol, number)) {
            let entry = serde_json::json!({"protocol": protocol, "port": number, "targetPort": 0});
            report.add(FieldError::duplicate(path, entry));
        }
    }
}

fn session_affinity(spec: &Value, report: &mut Report) {
    report.one_of("spec.sessionAffinity", &spec["sessionAffinity"], &AFFINITIES);
    let path = "spec.sessionAffinityConfig";
    let config = &spec["sessionAffinityConfig"];
    match meta::text(spec, &["sessionAffinity"]) {
        "ClientIP" => {
            let seconds = &config["clientIP"]["timeoutSeconds"];
            let detail = "when session affinity type is ClientIP";
            match seconds.as_i64() {
                None if config.is_null() => report.required(path, detail),
                None if config["clientIP"].is_null() => report.required(format!("{path}.clientIP"), detail),
                None => report.required(format!("{path}.clientIP.timeoutSeconds"), detail),
                Some(1..=MAX_AFFINITY) => {}
                Some(_) => {
                    let detail = format!("must be greater than 0 and less than {MAX_AFFINITY}");
                    report.invalid(format!("{path}.clientIP.timeoutSeconds"), seconds, &detail);
                }
            }
        }
        "None" if !config.is_null() => {
            report.forbidden(path, "must not be set when session affinity is None");
        }
        _ => {}
    }
}

fn load_balancer(object: &Value, kind: &str, report: &mut Report) {
    const ANNOTATION: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
    let spec = &object["spec"];
    let balanced = kind == "LoadBalancer";
    let only_balanced = "may only be used when `type` is 'LoadBalancer'";
    let ranges = meta::list(spec, &["loadBalancerSourceRanges"]);
    if !ranges.is_empty() && !balanced {
        report.forbidden("spec.LoadBalancerSourceRanges", only_balanced);
    }
    for (at, range) in ranges.iter().enumerate() {
        super::addresses::cidr(&format!("spec.LoadBalancerSourceRanges[{at}]"), range, report);
    }
    if let Some(ranges) =
        meta::annotation(object, ANNOTATION).filter(|_| spec["loadBalancerSourceRanges"].is_null())
    {
        let path = format!("metadata.annotations[{ANNOTATION}]");
        if !balanced {
            report.forbidden(&path, only_balanced);
        }
        for range in ranges.split(',').map(str::trim).filter(|range| !range.is_empty()) {
            super::addresses::cidr(&path, &Value::from(range), report);
        }
    }
    let allocate = &spec["allocateLoadBalancerNodePorts"];
    match (balanced, allocate.is_null()) {
        (true, true) => report.required("allocateLoadBalancerNodePorts", ""),
        (false, false) => report.forbidden("spec.allocateLoadBalancerNodePorts", only_balanced),
        _ => {}
    }
    if let Some(class) = spec["loadBalancerClass"].as_str() {
        if balanced {
            report.complaints("spec.loadBalancerClass", class, names::qualified_name(class));
        } else {
            report.forbidden("spec.loadBalancerClass", only_balanced);
        }
    }
}

fn traffic_policies(spec: &Value, kind: &str, report: &mut Report) {
    let external = &spec["externalTrafficPolicy"];
    let has_external_ips = !meta::list(spec, &["externalIPs"]).is_empty();
    let accessible = matches!(kind, "LoadBalancer" | "NodePort") || (kind == "ClusterIP" && has_external_ips);
    if accessible {
        report.one_of("spec.externalTrafficPolicy", external, &TRAFFIC_POLICIES);
    } else if !external.is_null() {
        let detail = "may only be set for externally-accessible services";
        report.invalid("spec.externalTrafficPolicy", external, detail);
    }
    let health = &spec["healthCheckNodePort"];
    let needs_health = kind == "LoadBalancer" && *external == "Local";
    if needs_health && !health.is_null() {
        report.port("spec.healthCheckNodePort", health);
    } else if health.as_i64().is_some_and(|port| port != 0) && !needs_health {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        report.invalid("spec.healthCheckNodePort", health, detail);
    }
    if matches!(kind, "ClusterIP" | "LoadBalancer" | "NodePort") {
        report.one_of("spec.internalTrafficPolicy", &spec["internalTrafficPolicy"], &TRAFFIC_POLICIES);
    }
    if let Some(wish) = spec["trafficDistribution"].as_str().filter(|wish| !DISTRIBUTIONS.contains(wish)) {
        report.add(FieldError::not_supported("spec.trafficDistribution", wish, &DISTRIBUTIONS));
    }
}
