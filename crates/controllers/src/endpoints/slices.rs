//! The EndpointSlice controller.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod, Service};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::DeleteParams;

use super::packing::{self, Group, Plan};
use super::selection::{self, address_in, has_ended, is_ready, publishes_not_ready, selects, target_port};
use super::weights::Weights;
use super::{MANAGED_BY, SERVICE_NAME, TRIGGER_TIME, inherited_labels, selector_of};
use crate::runtime::cache::{Cache, Key};
use crate::runtime::context::{Context, namespace_goes, owned_by};

/// The name of this controller on its slices.
pub(crate) const MANAGER: &str = "endpointslice-controller.k8s.io";
/// The node label that names its zone.
const ZONE: &str = "topology.kubernetes.io/zone";

/// Brings the slices of one Service up to date.
pub(crate) async fn reconcile(context: &Context, key: Key) -> kube::Result<()> {
    let service = context.cache::<Service>().get(&key);
    let existing: Vec<EndpointSlice> = context
        .cache::<EndpointSlice>()
        .within(&key.namespace)
        .into_iter()
        .filter(|slice| slice.labels().get(SERVICE_NAME) == Some(&key.name))
        .filter(|slice| slice.labels().get(MANAGED_BY).is_some_and(|manager| manager == MANAGER))
        .map(|slice| (*slice).clone())
        .collect();
    let selected = service.as_ref().and_then(|service| Some((service, selector_of(service)?)));
    let Some((service, selector)) = selected else {
        // The garbage collector removes the slices of a Service that is gone.
        if service.is_some() {
            for slice in &existing {
                context.delete(slice, &DeleteParams::default()).await?;
            }
        }
        return Ok(());
    };
    if service.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let mut pods = context.cache::<Pod>().within(&key.namespace);
    pods.retain(|pod| selects(selector, pod) && !has_ended(pod));
    let (own, foreign): (Vec<_>, Vec<_>) =
        existing.into_iter().partition(|slice| is_owned_by(slice, service));
    for slice in &foreign {
        context.delete(slice, &DeleteParams::default()).await?;
    }
    let desired = groups(service, &pods, context.cache::<Node>());
    let plan = packing::plan(&desired, &own);
    let written =
        carry_out(context, service, plan, &own, trigger_time(service, &pods), &Weights::of(&pods)).await;
    match written {
        Err(error) if namespace_goes(&error) => Ok(()),
        result => result,
    }
}

async fn carry_out(
    context: &Context,
    service: &Service,
    plan: Plan,
    own: &[EndpointSlice],
    trigger: String,
    weights: &Weights,
) -> kube::Result<()> {
    for group in plan.create {
        let mut slice = new_slice(service, group, &trigger);
        weights.put_into(&mut slice);
        context.create(&slice).await?;
    }
    let mut updated: Vec<EndpointSlice> = plan.update;
    let kept = own.iter().filter(|slice| {
        !updated.iter().chain(&plan.delete).any(|other| other.name_any() == slice.name_any())
    });
    let outdated = kept.filter(|slice| *slice.labels() != labels(service) || !weights.are_in(slice));
    let outdated: Vec<EndpointSlice> = outdated.cloned().collect();
    updated.extend(outdated);
    for mut slice in updated {
        slice.metadata.labels = Some(labels(service));
        slice.annotations_mut().insert(TRIGGER_TIME.to_owned(), trigger.clone());
        weights.put_into(&mut slice);
        context.replace(&slice).await?;
    }
    for slice in &plan.delete {
        context.delete(slice, &DeleteParams::default()).await?;
    }
    Ok(())
}

/// What the slices should say: one group for each family and set of ports.
fn groups(service: &Service, pods: &[std::sync::Arc<Pod>], nodes: &Cache<Node>) -> Vec<Group> {
    let spec = service.spec.as_ref();
    let families = spec.and_then(|spec| spec.ip_families.clone()).unwrap_or_else(|| vec!["IPv4".into()]);
    let mut groups = Vec::new();
    for family in families {
        let mut by_ports: BTreeMap<String, Group> = BTreeMap::new();
        for pod in pods {
            let Some(address) = address_in(pod, &family) else { continue };
            let Some(endpoint) = endpoint(service, pod, &address.to_string(), nodes) else { continue };
            let ports = ports(service, pod);
            let name = ports
                .iter()
                .map(|port| format!("{:?}/{:?}/{:?}", port.name, port.protocol, port.port))
                .collect::<Vec<_>>()
                .join(",");
            let group = by_ports.entry(name).or_insert_with(|| Group {
                address_type: family.clone(),
                ports,
                endpoints: Vec::new(),
            });
            group.endpoints.push(endpoint);
        }
        if by_ports.is_empty() {
            let placeholder =
                Group { address_type: family.clone(), ports: Vec::new(), endpoints: Vec::new() };
            by_ports.insert(String::new(), placeholder);
        }
        groups.extend(by_ports.into_values());
    }
    groups
}

fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports
        .filter_map(|port| {
            Some(EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(target_port(pod, port)?),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect()
}

/// None while the pod's node is not known yet: its change brings the Service here again.
fn endpoint(service: &Service, pod: &Pod, address: &str, nodes: &Cache<Node>) -> Option<Endpoint> {
    let anyway = publishes_not_ready(service);
    let node_name = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
    let node = node_name.as_ref().and_then(|name| nodes.get(&Key::new("", name)));
    if node_name.is_some() && node.is_none() && !anyway {
        return None;
    }
    let zone = node.and_then(|node| node.labels().get(ZONE).cloned());
    let serving = is_ready(pod);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let ready = anyway || (serving && !terminating);
    Some(Endpoint {
        addresses: vec![address.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hints: hints(service, ready, zone.as_deref(), node_name.as_deref()),
        hostname: selection::hostname(service, pod),
        node_name,
        target_ref: Some(target_ref(pod)),
        zone,
        ..Endpoint::default()
    })
}

/// `spec.trafficDistribution` keeps traffic in the endpoint's own zone or on its own node (KEP-3015).
fn hints(service: &Service, ready: bool, zone: Option<&str>, node: Option<&str>) -> Option<EndpointHints> {
    let wish = service.spec.as_ref()?.traffic_distribution.as_deref().filter(|_| ready)?;
    let for_zones = zone.map(|zone| vec![ForZone { name: zone.to_owned() }]);
    match wish {
        "PreferClose" | "PreferSameZone" => {
            Some(EndpointHints { for_zones: Some(for_zones?), for_nodes: None })
        }
        "PreferSameNode" => {
            let for_nodes = Some(vec![ForNode { name: node?.to_owned() }]);
            Some(EndpointHints { for_zones, for_nodes })
        }
        _ => None,
    }
}

/// How Endpoints and slices name the pod behind an address.
pub(super) fn target_ref(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        name: pod.metadata.name.clone(),
        namespace: pod.metadata.namespace.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = inherited_labels(service);
    labels.insert(SERVICE_NAME.to_owned(), service.name_any());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

fn new_slice(service: &Service, group: Group, trigger: &str) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", service.name_any())),
            namespace: service.namespace(),
            labels: Some(labels(service)),
            annotations: Some([(TRIGGER_TIME.to_owned(), trigger.to_owned())].into()),
            owner_references: owned_by(service),
            ..ObjectMeta::default()
        },
        address_type: group.address_type,
        endpoints: Some(group.endpoints),
        ports: Some(group.ports),
    }
}

fn is_owned_by(slice: &EndpointSlice, service: &Service) -> bool {
    let owner = |owner: &&OwnerReference| owner.controller == Some(true);
    slice
        .owner_references()
        .iter()
        .find(owner)
        .is_none_or(|owner| Some(&owner.uid) == service.metadata.uid.as_ref())
}

/// When the newest of what the slices show has happened: the last readiness change of a pod, else
/// the creation of the Service.
fn trigger_time(service: &Service, pods: &[std::sync::Arc<Pod>]) -> String {
    let changes =
        pods.iter().flat_map(|pod| pod.status.iter()).flat_map(|status| status.conditions.iter().flatten());
    let newest = changes
        .filter(|condition| condition.type_ == "Ready")
        .filter_map(|condition| condition.last_transition_time.as_ref().map(|time| time.0))
        .max();
    let created = service.metadata.creation_timestamp.as_ref().map(|time| time.0);
    newest.or(created).unwrap_or_else(Timestamp::now).to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn pod(name: &str, ip: &str, ready: bool, terminating: bool) -> Arc<Pod> {
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": "n1", "containers": []},
            "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        }))
        .unwrap();
        if terminating {
            pod.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        }
        Arc::new(pod)
    }

    fn service(spec: serde_json::Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec}))
            .unwrap()
    }

    fn nodes() -> Cache<Node> {
        let nodes = Cache::default();
        let node = json!({"metadata": {"name": "n1", "labels": {ZONE: "a"}}});
        nodes.observe(serde_json::from_value(node).unwrap());
        nodes
    }

    #[test]
    fn conditions_tell_ready_serving_and_terminating_apart() {
        let service = service(json!({"ports": [{"port": 80}], "ipFamilies": ["IPv4"]}));
        for (ready, terminating, expected) in [
            (true, false, (true, true, false)),
            (false, false, (false, false, false)),
            (true, true, (false, true, true)),
        ] {
            let groups = groups(&service, &[pod("a", "10.244.0.1", ready, terminating)], &nodes());
            let conditions = groups[0].endpoints[0].conditions.clone().unwrap();
            let seen =
                (conditions.ready.unwrap(), conditions.serving.unwrap(), conditions.terminating.unwrap());
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn a_pod_on_an_unknown_node_waits() {
        let service = service(json!({"ports": [{"port": 80}], "ipFamilies": ["IPv4"]}));
        let groups = groups(&service, &[pod("a", "10.244.0.1", true, false)], &Cache::default());
        assert!(groups[0].endpoints.is_empty());
    }

    #[test]
    fn a_headless_service_without_ports_has_endpoints_without_ports() {
        let service = service(json!({"clusterIP": "None", "ipFamilies": ["IPv4"]}));
        let groups = groups(&service, &[pod("a", "10.244.0.1", true, false)], &nodes());
        assert!(groups[0].ports.is_empty());
        assert_eq!(groups[0].endpoints[0].zone.as_deref(), Some("a"));
    }
}
