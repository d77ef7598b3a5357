//! Nodes.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, NONE, UNKNOWN, age, column, name, text_or, wide};
use crate::meta;

pub(super) const NODE: &[Column] = &[
    NAME,
    column("Status", "string", "Whether the node takes pods."),
    column("Roles", "string", "The roles that the node's labels give it."),
    AGE,
    column("Version", "string", "The version of the node agent."),
    wide("Internal-IP", "string", "The address of the node inside the cluster."),
    wide("External-IP", "string", "The address of the node outside the cluster."),
    wide("OS-Image", "string", "The operating system of the node."),
    wide("Kernel-Version", "string", "The kernel of the node."),
    wide("Container-Runtime", "string", "The container runtime and its version."),
];

pub(super) fn node(object: &Value, now: Timestamp) -> Vec<Value> {
    let ready = meta::list(object, &["status", "conditions"]).iter().find(|one| one["type"] == "Ready");
    let mut status = match ready {
        Some(condition) if condition["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if object["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    let info = |field: &str, instead: &str| text_or(object, &["status", "nodeInfo", field], instead);
    vec![
        name(object),
        json!(status),
        json!(roles(object)),
        age(object, now),
        info("kubeletVersion", ""),
        json!(address(object, "InternalIP")),
        json!(address(object, "ExternalIP")),
        info("osImage", UNKNOWN),
        info("kernelVersion", UNKNOWN),
        info("containerRuntimeVersion", UNKNOWN),
    ]
}

fn roles(node: &Value) -> String {
    let labels = meta::labels(node).and_then(Value::as_object);
    let roles: BTreeSet<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.as_str() {
            "kubernetes.io/role" => value.as_str(),
            key => key.strip_prefix("node-role.kubernetes.io/"),
        })
        .filter(|role| !role.is_empty())
        .collect();
    if roles.is_empty() { NONE.to_owned() } else { roles.into_iter().collect::<Vec<_>>().join(",") }
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let addresses = meta::list(node, &["status", "addresses"]);
    let found = addresses.iter().find(|one| one["type"] == kind);
    found.and_then(|one| one["address"].as_str()).unwrap_or(NONE)
}
