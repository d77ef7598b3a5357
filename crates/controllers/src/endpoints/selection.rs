//! Which pods serve a Service, at which ports, and whether they are ready.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use crate::runtime::cache::Change;

/// The selector of a Service that has one and is not an alias for another name.
pub(crate) fn selector_of(service: &Service) -> Option<&BTreeMap<String, String>> {
    let spec = service.spec.as_ref()?;
    let alias = spec.type_.as_deref() == Some("ExternalName");
    spec.selector.as_ref().filter(|selector| !selector.is_empty() && !alias)
}

/// Whether a pod has all labels of a selector.
pub(super) fn selects(selector: &BTreeMap<String, String>, pod: &Pod) -> bool {
    selector.iter().all(|(name, value)| pod.labels().get(name) == Some(value))
}

/// Whether a change of a pod can change what stands behind a Service.
pub(crate) fn affects_endpoints(change: &Change<Pod>) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return true };
    let face = |pod: &Pod| {
        let spec = pod.spec.as_ref();
        (
            pod.metadata.labels.clone(),
            pod.metadata.deletion_timestamp.is_some(),
            spec.and_then(|spec| spec.hostname.clone()),
            spec.and_then(|spec| spec.subdomain.clone()),
            spec.and_then(|spec| spec.node_name.clone()),
            is_ready(pod),
            has_ended(pod),
            addresses(pod).collect::<Vec<_>>(),
        )
    };
    old.metadata.uid != new.metadata.uid || face(old) != face(new)
}

/// Whether the condition `Ready` is true.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether all containers have ended for good.
pub(crate) fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// The pod's addresses, of both families.
pub(super) fn addresses(pod: &Pod) -> impl Iterator<Item = IpAddr> {
    let status = pod.status.as_ref();
    let many = status.iter().flat_map(|status| status.pod_ips.iter().flatten());
    let many: Vec<&str> = many.map(|ip| ip.ip.as_str()).collect();
    let single = status.and_then(|status| status.pod_ip.as_deref()).filter(|_| many.is_empty());
    many.into_iter().chain(single).filter_map(|text| text.parse().ok()).collect::<Vec<_>>().into_iter()
}

/// The address of a pod in one family (`IPv4` or `IPv6`).
pub(super) fn address_in(pod: &Pod, family: &str) -> Option<IpAddr> {
    addresses(pod).find(|address| address.is_ipv4() == (family == "IPv4"))
}

/// Whether not-ready pods count as well.
pub(super) fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false)
}

/// The name under which a headless Service knows a pod of its own.
pub(super) fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let hostname = spec.hostname.as_ref().filter(|name| !name.is_empty())?;
    let subdomain = spec.subdomain.as_deref()?;
    (subdomain == service.name_any() && pod.namespace() == service.namespace()).then(|| hostname.clone())
}

/// The number of the port that a Service's port means on a pod; none if the pod has no such port.
pub(super) fn target_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let spec = pod.spec.as_ref()?;
            let sidecars = spec
                .init_containers
                .iter()
                .flatten()
                .filter(|container| container.restart_policy.as_deref() == Some("Always"));
            let ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
            ports
                .into_iter()
                .find(|p| {
                    p.name.as_deref() == Some(name) && p.protocol.as_deref().unwrap_or("TCP") == protocol
                })
                .map(|p| p.container_port)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web-0", "namespace": "default", "labels": {"app": "web"}},
            "spec": {"hostname": "web-0", "subdomain": "web", "containers": [
                {"name": "a", "ports": [{"name": "http", "containerPort": 8080}, {"name": "http", "containerPort": 53, "protocol": "UDP"}]},
            ]},
            "status": {"podIP": "10.244.0.5", "podIPs": [{"ip": "10.244.0.5"}, {"ip": "fd00::5"}]},
        }))
        .unwrap()
    }

    fn port(value: serde_json::Value) -> ServicePort {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_named_target_port_is_found_by_name_and_protocol() {
        for (value, expected) in [
            (json!({"port": 80}), Some(80)),
            (json!({"port": 80, "targetPort": 8081}), Some(8081)),
            (json!({"port": 80, "targetPort": "http"}), Some(8080)),
            (json!({"port": 80, "targetPort": "http", "protocol": "UDP"}), Some(53)),
            (json!({"port": 80, "targetPort": "grpc"}), None),
        ] {
            assert_eq!(target_port(&pod(), &port(value.clone())), expected, "{value}");
        }
    }

    #[test]
    fn an_address_is_chosen_by_family() {
        assert_eq!(address_in(&pod(), "IPv4").unwrap().to_string(), "10.244.0.5");
        assert_eq!(address_in(&pod(), "IPv6").unwrap().to_string(), "fd00::5");
    }

    #[test]
    fn only_the_subdomain_of_the_service_gives_a_hostname() {
        let service = |name: &str| -> Service {
            serde_json::from_value(json!({"metadata": {"name": name, "namespace": "default"}})).unwrap()
        };
        assert_eq!(hostname(&service("web"), &pod()).as_deref(), Some("web-0"));
        assert_eq!(hostname(&service("other"), &pod()), None);
    }
}
