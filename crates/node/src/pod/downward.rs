//! The downward API: fields of a pod and limits of its containers, as text for variables and files.

use std::{collections::BTreeMap, fmt::Write, net::IpAddr};

use k8s_openapi::api::core::v1::{Container, ObjectFieldSelector, Pod, ResourceFieldSelector};

use super::{names, quantity};

/// What the downward API can name besides the Pod object itself.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The pod's addresses, the first is `status.podIP`.
    pub(super) pod_ips: Vec<IpAddr>,
    /// The node's address.
    pub(super) host_ip: IpAddr,
    /// CPUs of the node, for containers without limit.
    pub(super) cpus: f64,
    /// Bytes of memory of the node, for containers without limit.
    pub(super) memory: f64,
}

/// The value of a `fieldRef`.
pub(super) fn field(pod: &Pod, facts: &Facts, selector: &ObjectFieldSelector) -> Result<String, String> {
    let path = selector.field_path.as_str();
    let spec = pod.spec.as_ref();
    let meta = &pod.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let ips = || facts.pod_ips.iter().map(ToString::to_string).collect::<Vec<_>>();
    Ok(match path {
        "metadata.name" => text(&meta.name),
        "metadata.namespace" => text(&meta.namespace),
        "metadata.uid" => names::uid(pod),
        "metadata.labels" => lines(meta.labels.as_ref()),
        "metadata.annotations" => lines(meta.annotations.as_ref()),
        "spec.nodeName" => spec.map(|spec| text(&spec.node_name)).unwrap_or_default(),
        "spec.serviceAccountName" => spec.map(|spec| text(&spec.service_account_name)).unwrap_or_default(),
        "status.hostIP" | "status.hostIPs" => facts.host_ip.to_string(),
        "status.podIP" => ips().into_iter().next().unwrap_or_default(),
        "status.podIPs" => ips().join(","),
        _ => {
            let of = |map: Option<&BTreeMap<String, String>>, key: &str| {
                map.and_then(|map| map.get(key)).cloned().unwrap_or_default()
            };
            if let Some(key) = subscript(path, "metadata.labels") {
                of(meta.labels.as_ref(), key)
            } else if let Some(key) = subscript(path, "metadata.annotations") {
                of(meta.annotations.as_ref(), key)
            } else {
                return Err(format!("field path {path:?} is not supported by the downward API"));
            }
        }
    })
}

/// `key` in `<field>['key']`.
fn subscript<'a>(path: &'a str, field: &str) -> Option<&'a str> {
    path.strip_prefix(field)?.strip_prefix("['")?.strip_suffix("']")
}

fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let mut text = String::new();
    for (key, value) in map.into_iter().flatten() {
        _ = writeln!(text, "{key}={value:?}");
    }
    text.trim_end().to_owned()
}

/// The value of a `resourceFieldRef` in a container, in units of its divisor, rounded up. A missing limit is
/// the node's capacity.
pub(super) fn resource(
    container: &Container,
    facts: &Facts,
    selector: &ResourceFieldSelector,
) -> Result<String, String> {
    let (kind, name) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| format!("resource {:?} is not supported by the downward API", selector.resource))?;
    let resources = container.resources.as_ref();
    let map = match kind {
        "limits" => resources.and_then(|resources| resources.limits.as_ref()),
        "requests" => resources.and_then(|resources| resources.requests.as_ref()),
        _ => return Err(format!("resource {:?} is not supported by the downward API", selector.resource)),
    };
    let capacity = match (kind, name) {
        ("limits", "cpu") => facts.cpus,
        ("limits", "memory") => facts.memory,
        _ => 0.0,
    };
    let amount = map.and_then(|map| map.get(name)).and_then(quantity::value).unwrap_or(capacity);
    let divisor = selector.divisor.as_ref().and_then(quantity::value).filter(|&divisor| divisor > 0.0);
    Ok(format!("{:.0}", (amount / divisor.unwrap_or(1.0)).ceil()))
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in super::super) fn facts() -> Facts {
        Facts {
            pod_ips: vec![[10, 244, 0, 2].into()],
            host_ip: [192, 0, 2, 1].into(),
            cpus: 2.0,
            memory: 1024.0 * 1024.0,
        }
    }

    fn select(path: &str) -> ObjectFieldSelector {
        ObjectFieldSelector { api_version: None, field_path: path.into() }
    }

    #[test]
    fn fields_are_named_by_path_and_labels_by_key() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "labels": {"app": "a\"b", "x": "y"}}, "spec": {"nodeName": "n", "containers": []},
        }))
        .unwrap();
        let get = |path: &str| field(&pod, &facts(), &select(path));
        assert_eq!(get("metadata.name").unwrap(), "p");
        assert_eq!(get("spec.nodeName").unwrap(), "n");
        assert_eq!(get("status.podIP").unwrap(), "10.244.0.2");
        assert_eq!(get("metadata.labels['x']").unwrap(), "y");
        assert_eq!(get("metadata.labels").unwrap(), "app=\"a\\\"b\"\nx=\"y\"");
        assert!(get("spec.containers").is_err());
    }

    #[test]
    fn a_limit_is_counted_in_divisors_and_falls_back_to_the_node() {
        let container: Container =
            serde_json::from_value(json!({"name": "c", "resources": {"limits": {"cpu": "250m"}}})).unwrap();
        let get = |resource: &str, divisor: &str| {
            let selector = json!({"resource": resource, "divisor": divisor});
            super::resource(&container, &facts(), &serde_json::from_value(selector).unwrap()).unwrap()
        };
        assert_eq!(get("limits.cpu", "1m"), "250");
        assert_eq!(get("limits.cpu", "0"), "1");
        assert_eq!(get("limits.memory", "1Ki"), "1024");
    }
}
