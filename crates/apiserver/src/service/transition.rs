//! What a change of a Service keeps of the old one and what it drops.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{has_node_ports, kind_of, node_port, ports};
use crate::object::section;

/// Completes the new form of a Service from the old one, before it is validated.
///
/// Values that the server had allocated and the client left out are kept, and fields that the new
/// type cannot have are dropped unless the client changed them in the same request (then validation
/// refuses them).
pub(crate) fn carry_over(old: &Value, new: &mut Value) {
    keep_allocations(old, new);
    drop_dependents(old, new);
}

/// Clients that write whole objects leave out what they did not choose.
fn keep_allocations(old: &Value, new: &mut Value) {
    let external = |service: &Value| kind_of(service) == "ExternalName";
    if !external(old) && !external(new) {
        for field in ["clusterIP", "clusterIPs"] {
            if is_unset(&new["spec"][field]) && !is_unset(&old["spec"][field]) {
                let single = new["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
                if field == "clusterIPs" && !single.is_empty() && single != old["spec"]["clusterIP"] {
                    continue;
                }
                section(new, "spec").insert(field.to_owned(), old["spec"][field].clone());
            }
        }
        let (ip, ips) = (new["spec"]["clusterIP"].clone(), &new["spec"]["clusterIPs"]);
        if ip != old["spec"]["clusterIP"] && !is_unset(&ip) && *ips == old["spec"]["clusterIPs"] {
            // A client that knows only the older field means both.
            section(new, "spec").insert("clusterIPs".to_owned(), Value::Array(vec![ip]));
        }
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            if is_unset(&new["spec"][field]) && !is_unset(&old["spec"][field]) {
                section(new, "spec").insert(field.to_owned(), old["spec"][field].clone());
            }
        }
    }
    if has_node_ports(old) && has_node_ports(new) {
        let used: HashSet<u16> = ports(new).filter_map(node_port).collect();
        let mut known: HashMap<&Value, u16> = HashMap::new();
        for port in ports(old) {
            if let Some(number) = node_port(port).filter(|number| !used.contains(number)) {
                known.entry(&port["name"]).or_insert(number);
            }
        }
        for port in ports_mut(new) {
            let same = known.get(&port["name"]);
            if let (None, Some(number), Value::Object(port)) = (node_port(port), same, port) {
                port.insert("nodePort".to_owned(), (*number).into());
            }
        }
    }
}

fn drop_dependents(old: &Value, new: &mut Value) {
    let (from, to) = (kind_of(old).to_owned(), kind_of(new).to_owned());
    let unchanged = |new: &Value, field: &str| new["spec"][field] == old["spec"][field];
    let mut dropped: Vec<&str> = Vec::new();
    if from != "ExternalName" && to == "ExternalName" {
        let ip_unchanged = unchanged(new, "clusterIP") || is_unset(&new["spec"]["clusterIP"]);
        if ip_unchanged {
            dropped.extend(["clusterIP", "clusterIPs"]);
        }
        dropped.extend(
            ["ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"]
                .into_iter()
                .filter(|f| unchanged(new, f)),
        );
    }
    if has_node_ports(old) && !has_node_ports(new) && to != "LoadBalancer" {
        let known: HashSet<u16> = ports(old).filter_map(node_port).collect();
        if ports(new).filter_map(node_port).all(|number| known.contains(&number)) {
            for port in ports_mut(new).filter_map(Value::as_object_mut) {
                port.remove("nodePort");
            }
        }
    }
    let external = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");
    let external_ips = new["spec"]["externalIPs"].as_array().is_some_and(|list| !list.is_empty());
    if external(&from)
        && !external(&to)
        && !(to == "ClusterIP" && external_ips)
        && unchanged(new, "externalTrafficPolicy")
    {
        dropped.push("externalTrafficPolicy");
    }
    if from == "LoadBalancer" && to != "LoadBalancer" {
        let fields = ["allocateLoadBalancerNodePorts", "loadBalancerClass", "healthCheckNodePort"];
        dropped.extend(fields.into_iter().filter(|field| unchanged(new, field)));
        section(new, "status").insert("loadBalancer".to_owned(), Value::Object(Map::new()));
    }
    let spec = section(new, "spec");
    for field in dropped {
        spec.remove(field);
    }
}

/// The ports of a Service, to be changed; one without ports stays without.
fn ports_mut(service: &mut Value) -> impl Iterator<Item = &mut Value> {
    service.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten()
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn carried(old: &Value, mut new: Value) -> Value {
        carry_over(old, &mut new);
        new["spec"].take()
    }

    fn node_port_service() -> Value {
        json!({"spec": {
            "type": "NodePort", "clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"], "externalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "nodePort": 31000}],
        }})
    }

    #[test]
    fn a_client_that_leaves_out_allocated_values_keeps_them() {
        let new = json!({"spec": {"type": "NodePort", "ports": [{"port": 81}]}});
        let spec = carried(&node_port_service(), new);
        assert_eq!(spec["clusterIP"], "10.96.1.1");
        assert_eq!(spec["clusterIPs"], json!(["10.96.1.1"]));
        assert_eq!(spec["ports"][0]["nodePort"], 31000);
    }

    #[test]
    fn node_port_to_cluster_ip_drops_the_node_ports_and_the_external_policy() {
        let mut new = node_port_service();
        new["spec"]["type"] = json!("ClusterIP");
        let spec = carried(&node_port_service(), new);
        assert_eq!(spec["ports"][0].get("nodePort"), None);
        assert_eq!(spec.get("externalTrafficPolicy"), None);
        assert_eq!(spec["clusterIP"], "10.96.1.1");
    }

    #[test]
    fn a_node_port_chosen_in_the_same_request_is_left_to_validation() {
        let mut new = node_port_service();
        new["spec"]["type"] = json!("ClusterIP");
        new["spec"]["ports"][0]["nodePort"] = json!(31999);
        assert_eq!(carried(&node_port_service(), new)["ports"][0]["nodePort"], 31999);
    }

    #[test]
    fn a_service_that_loses_its_ports_has_none_instead_of_null() {
        let new = json!({"spec": {"type": "ExternalName", "externalName": "example.org"}});
        assert_eq!(carried(&node_port_service(), new).get("ports"), None);
    }

    #[test]
    fn to_external_name_gives_the_address_back() {
        let mut new = node_port_service();
        new["spec"]["type"] = json!("ExternalName");
        new["spec"]["externalName"] = json!("example.org");
        let spec = carried(&node_port_service(), new);
        assert_eq!(spec.get("clusterIP"), None);
        assert_eq!(spec["ports"][0].get("nodePort"), None);
    }

    #[test]
    fn a_client_that_changes_the_single_address_means_the_list_too() {
        let old = json!({"spec": {"clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"]}});
        let new = json!({"spec": {"clusterIP": "10.96.0.6", "clusterIPs": ["10.96.0.5"]}});
        assert_eq!(carried(&old, new)["clusterIPs"], json!(["10.96.0.6"]));
    }
}
