//! A node that no longer renews its Lease is not ready, and neither are its pods.
//!
//! There is no period: each renewal sets the time at which the next one is missed.

use std::sync::Arc;
use std::time::Duration;

use follow::EventType;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::is_ready;
use crate::runtime::cache::Key;
use crate::runtime::context::{Context, is_gone};
use crate::runtime::queue::Queue;

/// Where nodes keep their Leases.
pub(crate) const LEASES: &str = "kube-node-lease";
/// How long a node may be silent when its Lease does not say (upstream's grace period).
const GRACE: Duration = Duration::from_secs(40);
/// A pod may be there so long before its node is (upstream's quarantine of the pod garbage collector).
const QUARANTINE: Duration = Duration::from_secs(40);

/// Looks at one node: sets it and its pods not ready when it is silent, and comes back when the
/// next renewal would be overdue.
pub(crate) async fn reconcile(context: &Context, queue: &Queue<Key>, key: Key) -> kube::Result<()> {
    let Some(node) = context.cache::<Node>().get(&key) else {
        return remove_pods(context, queue, key).await;
    };
    let lease = context.cache::<Lease>().get(&Key::new(LEASES, &key.name));
    let silent = silence(&node, lease.as_deref());
    let grace = lease
        .as_ref()
        .and_then(|lease| lease.spec.as_ref()?.lease_duration_seconds)
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(GRACE, Duration::from_secs);
    if silent < grace {
        // Also of a node that says itself that it is not ready: its pods are until it is silent.
        queue.add_after(key, grace - silent);
        return Ok(());
    }
    if is_ready(&node) {
        set_unknown(context, &key, &node).await?;
    }
    for pod in context.cache::<Pod>().all() {
        if on_node(&pod, &key.name) && crate::endpoints::is_ready(&pod) {
            set_pod_not_ready(context, &pod).await?;
        }
    }
    Ok(())
}

/// How long ago a node has last been heard of.
fn silence(node: &Node, lease: Option<&Lease>) -> Duration {
    let renewed = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref().map(|time| time.0));
    let created = node.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let last = renewed.or(created).unwrap_or_else(Timestamp::now);
    Duration::try_from(Timestamp::now().duration_since(last)).unwrap_or_default()
}

async fn set_unknown(context: &Context, key: &Key, node: &Node) -> kube::Result<()> {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let conditions: Vec<Value> = conditions
        .map(|condition| {
            let mut condition = json!(condition);
            condition["status"] = "Unknown".into();
            condition["reason"] = "NodeStatusUnknown".into();
            condition["message"] = "Kubelet stopped posting node status.".into();
            condition["lastTransitionTime"] = now();
            condition
        })
        .collect();
    context.patch_status::<Node>(key, &json!({ "conditions": conditions })).await?;
    let note = format!("Node {} status is now: NodeNotReady", key.name);
    context.record("node-controller", node, EventType::Normal, "NodeNotReady", note);
    Ok(())
}

async fn set_pod_not_ready(context: &Context, pod: &Arc<Pod>) -> kube::Result<()> {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let conditions: Vec<Value> = conditions
        .map(|condition| {
            let mut condition = json!(condition);
            if condition["type"] == "Ready" {
                condition["status"] = "False".into();
                condition["lastTransitionTime"] = now();
            }
            condition
        })
        .collect();
    match context.patch_status::<Pod>(&Key::of(&**pod), &json!({ "conditions": conditions })).await {
        Err(error) if is_gone(&error) => Ok(()),
        result => result,
    }
}

/// The pods of a node that is not there will never report: nobody else ends them. One that is new waits for its node.
async fn remove_pods(context: &Context, queue: &Queue<Key>, key: Key) -> kube::Result<()> {
    let node = &key.name;
    let mut pods = context.cache::<Pod>().all();
    pods.retain(|pod| on_node(pod, node));
    // A node that has just come may be missing in the cache, so the server is asked itself.
    if pods.is_empty() || context.api::<Node>("").get_metadata_opt(node).await?.is_some() {
        return Ok(());
    }
    let mut next: Option<Duration> = None;
    for pod in pods {
        let rest = quarantine(&pod, Timestamp::now());
        if rest.is_zero() {
            tracing::info!(pod = %pod.name_any(), node, "removing a pod whose node is not there");
            context.delete(&*pod, &DeleteParams::default().grace_period(0)).await?;
        } else {
            next = Some(next.map_or(rest, |next| next.min(rest)));
        }
    }
    if let Some(rest) = next {
        queue.add_after(key, rest);
    }
    Ok(())
}

/// How long a pod still waits for its node to appear; one that is being deleted does not.
fn quarantine(pod: &Pod, now: Timestamp) -> Duration {
    let created = pod.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
    if pod.metadata.deletion_timestamp.is_some() {
        return Duration::ZERO;
    }
    QUARANTINE.saturating_sub(Duration::try_from(now.duration_since(created)).unwrap_or_default())
}

fn on_node(pod: &Pod, node: &str) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node)
}

fn now() -> Value {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_waits_for_its_node_unless_it_is_being_deleted() {
        let pod =
            |metadata: Value| -> Pod { serde_json::from_value(json!({ "metadata": metadata })).unwrap() };
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        for (metadata, seconds) in [
            (json!({"creationTimestamp": "2026-01-01T11:59:50Z"}), 30),
            (json!({"creationTimestamp": "2026-01-01T11:00:00Z"}), 0),
            (json!({"creationTimestamp": "2026-01-01T13:00:00Z"}), 40),
            (
                json!({"creationTimestamp": "2026-01-01T11:59:59Z", "deletionTimestamp": "2026-01-01T12:00:30Z"}),
                0,
            ),
        ] {
            assert_eq!(quarantine(&pod(metadata.clone()), now), Duration::from_secs(seconds), "{metadata}");
        }
    }

    #[test]
    fn a_node_is_silent_since_its_last_renewal() {
        let node: Node =
            serde_json::from_value(json!({"metadata": {"creationTimestamp": "2020-01-01T00:00:00Z"}}))
                .unwrap();
        assert!(silence(&node, None) > Duration::from_secs(1_000_000));
        let renewed = Timestamp::now().to_string();
        let lease: Lease =
            serde_json::from_value(json!({"metadata": {}, "spec": {"renewTime": renewed}})).unwrap();
        assert!(silence(&node, Some(&lease)) < Duration::from_secs(5));
    }
}
