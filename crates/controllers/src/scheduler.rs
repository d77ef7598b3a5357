//! The scheduler: a node for each pod that has none.
//!
//! It spreads: of the ready nodes that a pod may run on and fits into, the one with the fewest pods of the same
//! workload wins, then the one with the fewest pods, then the first by name.

mod fit;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use follow::EventType;
use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, Taint, Toleration};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::PostParams;
use serde_json::json;

use crate::endpoints::has_ended;
use crate::nodes::is_ready;
use crate::runtime::cache::Key;
use crate::runtime::context::{Context, is_gone};

/// The name of this scheduler in `spec.schedulerName`.
const NAME: &str = "default-scheduler";

/// Choices that the watch has not shown yet: pod to node.
#[derive(Debug, Default)]
pub(crate) struct Assumed(Mutex<HashMap<Key, String>>);

impl Assumed {
    fn with<T>(&self, change: impl FnOnce(&mut HashMap<Key, String>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets a choice that the watch now shows, or whose pod is gone.
    pub(crate) fn settle(&self, key: &Key) {
        self.with(|assumed| assumed.remove(key));
    }
}

/// Whether a pod waits for this scheduler.
pub(crate) fn waits(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    spec.is_some_and(|spec| {
        spec.node_name.as_deref().unwrap_or_default().is_empty()
            && spec.scheduler_name.as_deref().is_none_or(|name| name == NAME)
    }) && pod.metadata.deletion_timestamp.is_none()
        && !has_ended(pod)
}

/// Assigns one pod, or says why it cannot be.
pub(crate) async fn reconcile(context: &Context, assumed: &Assumed, key: Key) -> kube::Result<()> {
    let Some(pod) = context.cache::<Pod>().get(&key).filter(|pod| waits(pod)) else {
        assumed.settle(&key);
        return Ok(());
    };
    let nodes = context.cache::<Node>().all();
    let pods = context.cache::<Pod>().all();
    let chosen = assumed.with(|assumed| {
        let node = choose(&pod, &nodes, &pods, assumed)?;
        assumed.insert(key.clone(), node.clone());
        Ok(node)
    });
    match chosen {
        Ok(node) => {
            let bound = bind(context, &key, &pod, &node).await;
            if bound.is_err() {
                assumed.settle(&key);
            }
            bound
        }
        Err(reason) => refuse(context, &key, &pod, reason).await,
    }
}

async fn bind(context: &Context, key: &Key, pod: &Pod, node: &str) -> kube::Result<()> {
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding",
        "metadata": { "name": key.name, "namespace": key.namespace, "uid": pod.metadata.uid },
        "target": { "apiVersion": "v1", "kind": "Node", "name": node },
    });
    let api = context.api::<Pod>(&key.namespace);
    let params = PostParams::default();
    let bound: kube::Result<serde_json::Value> =
        api.create_subresource("binding", &key.name, &params, &binding).await;
    match bound {
        Ok(_) => {
            let note = format!("Successfully assigned {key} to {node}");
            context.record(NAME, pod, EventType::Normal, "Scheduled", note);
            Ok(())
        }
        Err(error) if is_gone(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn refuse(context: &Context, key: &Key, pod: &Pod, reason: String) -> kube::Result<()> {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut conditions: Vec<_> = conditions.cloned().collect();
    let known = conditions
        .iter()
        .any(|condition| condition.type_ == "PodScheduled" && condition.message.as_deref() == Some(&reason));
    if known {
        return Ok(());
    }
    context.record(NAME, pod, EventType::Warning, "FailedScheduling", reason.clone());
    conditions.retain(|condition| condition.type_ != "PodScheduled");
    let condition = json!({
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": reason,
        "lastTransitionTime": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    let conditions: Vec<_> = conditions.iter().map(|condition| json!(condition)).chain([condition]).collect();
    match context.patch_status::<Pod>(key, &json!({ "conditions": conditions })).await {
        Err(error) if is_gone(&error) => Ok(()),
        result => result,
    }
}

/// The best node for a pod, or why there is none, in upstream's form.
fn choose(
    pod: &Pod,
    nodes: &[Arc<Node>],
    pods: &[Arc<Pod>],
    assumed: &HashMap<Key, String>,
) -> Result<String, String> {
    let place = |other: &Pod| {
        let assigned = other.spec.as_ref().and_then(|spec| spec.node_name.clone());
        assigned.or_else(|| assumed.get(&Key::of(other)).cloned()).filter(|_| !has_ended(other))
    };
    let mut tenants: HashMap<String, Vec<&Pod>> = HashMap::new();
    for other in pods {
        if let Some(node) = place(other) {
            tenants.entry(node).or_default().push(other);
        }
    }
    let here = |node: &str| tenants.get(node).map(Vec::as_slice).unwrap_or_default();
    let mut refusals: HashMap<String, usize> = HashMap::new();
    let mut open = Vec::new();
    for node in nodes {
        let lacking = || {
            let others = here(&node.name_any()).iter().copied();
            Some(format!("Insufficient {}", fit::lacking(pod, node, others)?))
        };
        match refusal(pod, node).or_else(lacking) {
            None => open.push(node),
            Some(reason) => *refusals.entry(reason).or_default() += 1,
        }
    }
    let owner = |pod: &Pod| {
        pod.owner_references()
            .iter()
            .find(|owner| owner.controller == Some(true))
            .map(|owner| owner.uid.clone())
    };
    let own = owner(pod);
    let load = |node: &str| {
        let here = here(node);
        let kin = here.iter().filter(|other| own.is_some() && owner(other) == own).count();
        (kin, here.len())
    };
    open.into_iter().map(|node| node.name_any()).min_by_key(|name| (load(name), name.clone())).ok_or_else(
        || {
            let mut reasons: Vec<String> =
                refusals.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            reasons.sort();
            let reasons =
                if reasons.is_empty() { "no nodes registered".to_owned() } else { reasons.join(", ") };
            format!("0/{} nodes are available: {reasons}.", nodes.len())
        },
    )
}

/// Why a pod may not run on a node.
fn refusal(pod: &Pod, node: &Node) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    if !is_ready(node) {
        return Some("node(s) were not ready".to_owned());
    }
    let node_spec = node.spec.as_ref();
    if node_spec.and_then(|spec| spec.unschedulable) == Some(true) {
        return Some("node(s) were unschedulable".to_owned());
    }
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let mut taints = node_spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let hard = |taint: &&Taint| taint.effect != "PreferNoSchedule";
    if let Some(taint) =
        taints.by_ref().filter(hard).find(|taint| !tolerations.iter().any(|t| tolerates(t, taint)))
    {
        let value = taint.value.as_deref().unwrap_or_default();
        return Some(format!("node(s) had untolerated taint {{{}: {value}}}", taint.key));
    }
    let labels = node.labels();
    let selected = spec.node_selector.iter().flatten().all(|(name, value)| labels.get(name) == Some(value));
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    let attracted = required
        .is_none_or(|required| required.node_selector_terms.iter().any(|term| term_matches(term, node)));
    (!selected || !attracted).then(|| "node(s) didn't match Pod's node affinity/selector".to_owned())
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    (effect.is_empty() || effect == taint.effect)
        && (key == taint.key || (key.is_empty() && exists))
        && (exists
            || toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default())
}

fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let by_label = term.match_expressions.iter().flatten();
    let by_field = term.match_fields.iter().flatten();
    let name = node.name_any();
    let empty = term.match_expressions.as_ref().is_none_or(Vec::is_empty)
        && term.match_fields.as_ref().is_none_or(Vec::is_empty);
    !empty
        && by_label
            .into_iter()
            .all(|requirement| meets(requirement, node.labels().get(&requirement.key).map(String::as_str)))
        && by_field.into_iter().all(|requirement| meets(requirement, Some(&name)))
}

fn meets(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let mut values = requirement.values.iter().flatten();
    let number = |text: &str| text.parse::<i64>().ok();
    match requirement.operator.as_str() {
        "In" => value.is_some_and(|value| values.any(|v| v == value)),
        "NotIn" => value.is_none_or(|value| values.all(|v| v != value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => value.and_then(number).zip(values.next().and_then(|v| number(v))).is_some_and(|(a, b)| a > b),
        "Lt" => value.and_then(number).zip(values.next().and_then(|v| number(v))).is_some_and(|(a, b)| a < b),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, spec: &serde_json::Value, ready: bool) -> Arc<Node> {
        let status = if ready { "True" } else { "Unknown" };
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
                "spec": spec, "status": {"conditions": [{"type": "Ready", "status": status}]},
            }))
            .unwrap(),
        )
    }

    fn pod(name: &str, owner: &str, spec: serde_json::Value) -> Arc<Pod> {
        let owner = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner, "controller": true});
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "default", "ownerReferences": [owner]}, "spec": {"containers": []},
        }))
        .unwrap();
        let mut merged = json!(pod.spec);
        for (field, value) in spec.as_object().unwrap() {
            merged[field] = value.clone();
        }
        pod.spec = serde_json::from_value(merged).unwrap();
        Arc::new(pod)
    }

    #[test]
    fn pods_of_one_workload_are_spread_over_the_nodes() {
        let nodes = ["a", "b", "c"].map(|name| node(name, &json!({}), true));
        let mut pods: Vec<Arc<Pod>> = Vec::new();
        for n in 0..6 {
            let waiting = pod(&format!("web-{n}"), "web", json!({}));
            let chosen = choose(&waiting, &nodes, &pods, &HashMap::new()).unwrap();
            pods.push(pod(&format!("web-{n}"), "web", json!({"nodeName": chosen})));
        }
        for name in ["a", "b", "c"] {
            let here = pods.iter().filter(|p| p.spec.as_ref().unwrap().node_name.as_deref() == Some(name));
            assert_eq!(here.count(), 2);
        }
    }

    #[test]
    fn a_choice_counts_before_the_watch_shows_it() {
        let nodes = ["a", "b"].map(|name| node(name, &json!({}), true));
        let first = pod("web-0", "web", json!({}));
        let assumed = HashMap::from([(Key::of(&*first), "a".to_owned())]);
        let chosen = choose(&pod("web-1", "web", json!({})), &nodes, &[first], &assumed).unwrap();
        assert_eq!(chosen, "b");
    }

    #[test]
    fn a_pod_that_fits_nowhere_is_told_why() {
        let taint = json!({"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]});
        let nodes = [
            node("a", &json!({}), false),
            node("b", &taint, true),
            node("c", &json!({"unschedulable": true}), true),
        ];
        let reason = choose(&pod("p", "x", json!({})), &nodes, &[], &HashMap::new()).unwrap_err();
        assert_eq!(
            reason,
            "0/3 nodes are available: 1 node(s) had untolerated taint {gpu: yes}, 1 node(s) were not ready, 1 node(s) were unschedulable."
        );
    }

    #[test]
    fn selectors_and_tolerations_are_respected() {
        let taint = json!({"taints": [{"key": "gpu", "effect": "NoSchedule"}]});
        let nodes = [node("a", &json!({}), true), node("b", &taint, true)];
        let choose = |spec| choose(&pod("p", "x", spec), &nodes, &[], &HashMap::new());
        assert_eq!(choose(json!({"nodeSelector": {"kubernetes.io/hostname": "a"}})).unwrap(), "a");
        assert!(choose(json!({"nodeSelector": {"kubernetes.io/hostname": "b"}})).is_err());
        let tolerant = json!({
            "nodeSelector": {"kubernetes.io/hostname": "b"}, "tolerations": [{"key": "gpu", "operator": "Exists"}],
        });
        assert_eq!(choose(tolerant).unwrap(), "b");
    }
}
