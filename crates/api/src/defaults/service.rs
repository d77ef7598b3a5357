//! Defaults of Services (`SetDefaults_Service`).

use serde_json::{Value, json};

use super::{Object, member, text};

/// The seconds for which a client stays with its endpoint when nothing else is said.
const AFFINITY_SECONDS: i64 = 10_800;

pub(super) fn service(service: &mut Object) {
    let kind = text(service, "spec", "type").to_owned();
    let spec = member(service, "spec");
    affinity(spec);
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let number = port.get("port").cloned().unwrap_or_default();
        if let Some(port) = port.as_object_mut()
            && port.get("targetPort").is_none_or(|target| *target == 0 || *target == "")
        {
            port.insert("targetPort".to_owned(), number);
        }
    }
    let external_ips = spec.get("externalIPs").and_then(Value::as_array).is_some_and(|ips| !ips.is_empty());
    if matches!(kind.as_str(), "LoadBalancer" | "NodePort") || (kind == "ClusterIP" && external_ips) {
        spec.entry("externalTrafficPolicy").or_insert(json!("Cluster"));
    }
    if kind != "ExternalName" {
        spec.entry("internalTrafficPolicy").or_insert(json!("Cluster"));
    }
    if kind == "LoadBalancer" {
        spec.entry("allocateLoadBalancerNodePorts").or_insert(json!(true));
        let ingress =
            service.get_mut("status").and_then(|status| status.get_mut("loadBalancer")?.get_mut("ingress"));
        for entry in ingress.and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(entry) = entry.as_object_mut().filter(|entry| entry.contains_key("ip")) {
                entry.entry("ipMode").or_insert(json!("VIP"));
            }
        }
    }
}

fn affinity(spec: &mut Object) {
    match spec.get("sessionAffinity").and_then(Value::as_str) {
        Some("None") => {
            spec.remove("sessionAffinityConfig");
        }
        Some("ClientIP") => {
            let client_ip = member(member(spec, "sessionAffinityConfig"), "clientIP");
            client_ip.entry("timeoutSeconds").or_insert(json!(AFFINITY_SECONDS));
        }
        _ => {}
    }
}
