//! Defaults of pods, their containers and volumes.

use serde_json::{Value, json};

use super::{Object, member};
use crate::meta;

/// Images without a tag, or tagged `latest`, are pulled every time; others when they are missing.
pub(super) fn container(container: &mut Object) {
    if container.contains_key("imagePullPolicy") {
        return;
    }
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let policy = if is_latest(image) { "Always" } else { "IfNotPresent" };
    container.insert("imagePullPolicy".to_owned(), json!(policy));
}

/// Whether an image reference means the newest image: no digest, and no tag but `latest`.
fn is_latest(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let name = image.rsplit_once('/').map_or(image, |(_, name)| name);
    name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

/// A volume without a source is an empty directory.
pub(super) fn volume(volume: &mut Object) {
    if volume.keys().all(|key| key == "name") {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`; both are always the same.
pub(super) fn pod_spec(spec: &mut Object) {
    let name = spec.get("serviceAccountName").or_else(|| spec.get("serviceAccount")).cloned();
    if let Some(name) = name {
        spec.insert("serviceAccount".to_owned(), name.clone());
        spec.insert("serviceAccountName".to_owned(), name);
    }
}

/// Defaults that pods have and pod templates do not.
pub(super) fn pod(pod: &mut Object) {
    let spec = member(pod, "spec");
    spec.entry("enableServiceLinks").or_insert(json!(true));
    let host_network = spec.get("hostNetwork") == Some(&json!(true));
    for key in ["initContainers", "containers"] {
        let containers = spec.get_mut(key).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            requests_from_limits(container);
            if host_network {
                host_ports(container);
            }
        }
    }
    let class = quality_of_service(spec);
    member(pod, "status").entry("qosClass").or_insert(json!(class));
}

/// What is limited but not requested is requested up to its limit.
fn requests_from_limits(container: &mut Object) {
    let resources = member(container, "resources");
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    let requests = member(resources, "requests");
    for (resource, limit) in limits {
        requests.entry(resource).or_insert(limit);
    }
}

/// On the host's network a container port is a port of the host.
fn host_ports(container: &mut Object) {
    let ports = container.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        if let Some(number) = port.get("containerPort").cloned() {
            port.entry("hostPort").or_insert(number);
        }
    }
}

/// The class by which the node chooses whom to evict first.
fn quality_of_service(spec: &Object) -> &'static str {
    let containers: Vec<&Value> = ["initContainers", "containers"]
        .iter()
        .filter_map(|key| spec.get(*key)?.as_array())
        .flatten()
        .collect();
    let (mut guaranteed, mut best_effort) = (true, true);
    for container in containers {
        for resource in ["cpu", "memory"] {
            let limit = meta::at(container, &["resources", "limits", resource]);
            let request = meta::at(container, &["resources", "requests", resource]);
            best_effort &= limit.is_null() && request.is_null();
            guaranteed &= !limit.is_null() && limit == request;
        }
    }
    match (best_effort, guaranteed) {
        (true, _) => "BestEffort",
        (false, true) => "Guaranteed",
        (false, false) => "Burstable",
    }
}
