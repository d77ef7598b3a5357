//! ReplicaSets and ReplicationControllers: so many pods of one template, no more and no less.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use follow::EventType;
use futures::future::join_all;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec, ReplicationController, ReplicationControllerStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;

use super::selector;
use crate::endpoints::affects_endpoints;
use crate::runtime::cache::{Change, Key};
use crate::runtime::context::{Context, Object, namespace_goes, owned_by};
use crate::runtime::queue::Queue;

/// How many pods are created or deleted at once.
const BURST: usize = 64;

/// A kind that keeps a number of pods.
pub(crate) trait Replicated: Object {
    /// The name under which the controller reports.
    const COMPONENT: &'static str;

    fn wanted(&self) -> i32;
    fn selector(&self) -> Option<LabelSelector>;
    fn template(&self) -> Option<&PodTemplateSpec>;
    fn min_ready_seconds(&self) -> i32;
    fn status_of(&self, counts: Counts) -> serde_json::Value;
    fn status_now(&self) -> serde_json::Value;
}

/// The numbers of a status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) replicas: i32,
    pub(crate) labelled: i32,
    pub(crate) ready: i32,
    pub(crate) available: i32,
}

macro_rules! replicated {
    ($kind:ty, $status:ty, $component:literal, $selector:expr) => {
        impl Replicated for $kind {
            const COMPONENT: &'static str = $component;

            fn wanted(&self) -> i32 {
                self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
            }

            fn selector(&self) -> Option<LabelSelector> {
                let select: fn(&$kind) -> Option<LabelSelector> = $selector;
                select(self)
            }

            fn template(&self) -> Option<&PodTemplateSpec> {
                self.spec.as_ref()?.template.as_ref()
            }

            fn min_ready_seconds(&self) -> i32 {
                self.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
            }

            fn status_of(&self, counts: Counts) -> serde_json::Value {
                json!(<$status>::from(Numbers { counts, generation: self.metadata.generation }))
            }

            fn status_now(&self) -> serde_json::Value {
                json!(self.status)
            }
        }

        impl From<Numbers> for $status {
            fn from(Numbers { counts, generation }: Numbers) -> Self {
                Self {
                    replicas: counts.replicas,
                    fully_labeled_replicas: Some(counts.labelled),
                    ready_replicas: Some(counts.ready),
                    available_replicas: Some(counts.available),
                    observed_generation: generation,
                    ..Self::default()
                }
            }
        }
    };
}

/// What a status is made of.
struct Numbers {
    counts: Counts,
    generation: Option<i64>,
}

replicated!(ReplicaSet, ReplicaSetStatus, "replicaset-controller", |set| {
    set.spec.as_ref().map(|spec| spec.selector.clone())
});
replicated!(ReplicationController, ReplicationControllerStatus, "replication-controller", |controller| {
    let match_labels = controller.spec.as_ref()?.selector.clone();
    Some(LabelSelector { match_labels, match_expressions: None })
});

/// Brings the pods of one workload to the number that it asks for.
pub(crate) async fn reconcile<K: Replicated>(
    context: &Context,
    queue: &Queue<Key>,
    key: Key,
) -> kube::Result<()> {
    let Some(owner) = context.cache::<K>().get(&key) else { return Ok(()) };
    let (Some(selector), Some(template)) = (owner.selector(), owner.template()) else { return Ok(()) };
    let pods = claim(context, &*owner, &selector).await?;
    let living: Vec<Arc<Pod>> = pods.iter().filter(|pod| is_living(pod)).cloned().collect();
    if owner.meta().deletion_timestamp.is_none() {
        let missing = owner.wanted().max(0) as usize;
        if living.len() < missing {
            grow(context, &*owner, template, missing - living.len()).await?;
        } else {
            shrink(context, &*owner, living.clone(), living.len() - missing).await?;
        }
    }
    let pods: Vec<Arc<Pod>> = context.cache::<Pod>().within(&key.namespace);
    let own = pods.iter().filter(|pod| is_owned(pod, &*owner) && is_living(pod));
    let counts = count(own, template, owner.min_ready_seconds());
    let status = owner.status_of(counts);
    if counts.available < counts.ready {
        // Nothing happens when a pod has been ready for long enough: it has to be looked at then.
        queue.add_after(key.clone(), Duration::from_secs(owner.min_ready_seconds().max(1) as u64));
    }
    if !covers(&owner.status_now(), &status) {
        context.patch_status::<K>(&key, &status).await?;
    }
    Ok(())
}

/// Whether a change of a pod concerns the workload that owns it: anything that its status or its
/// number may depend on.
pub(crate) fn concerns_owner(change: &Change<Pod>) -> bool {
    affects_endpoints(change)
}

/// The workload that a pod belongs to.
pub(crate) fn owner_key(pod: &Pod, kind: &str) -> Option<Key> {
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true))?;
    (owner.kind == kind).then(|| Key::new(pod.metadata.namespace.as_deref().unwrap_or_default(), &owner.name))
}

/// The workload's pods; those without an owner that its selector means become its own.
async fn claim<K: Replicated>(
    context: &Context,
    owner: &K,
    selector: &LabelSelector,
) -> kube::Result<Vec<Arc<Pod>>> {
    let namespace = owner.namespace().unwrap_or_default();
    let mut own = Vec::new();
    for pod in context.cache::<Pod>().within(&namespace) {
        let orphan = !pod.owner_references().iter().any(|reference| reference.controller == Some(true));
        if is_owned(&pod, owner) {
            own.push(pod);
        } else if orphan
            && is_living(&pod)
            && selector::matches(selector, pod.labels())
            && owner.meta().deletion_timestamp.is_none()
        {
            let mut owners = pod.owner_references().to_vec();
            owners.extend(owned_by(owner).into_iter().flatten());
            let patch = json!({ "metadata": { "uid": pod.metadata.uid, "ownerReferences": owners } });
            context.patch::<Pod>(&Key::of(&*pod), &patch).await?;
            own.push(pod);
        }
    }
    Ok(own)
}

fn is_owned<K: Replicated>(pod: &Pod, owner: &K) -> bool {
    pod.owner_references().iter().any(|reference| {
        reference.controller == Some(true) && Some(&reference.uid) == owner.meta().uid.as_ref()
    })
}

fn is_living(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && !crate::endpoints::has_ended(pod)
}

async fn grow<K: Replicated>(
    context: &Context,
    owner: &K,
    template: &PodTemplateSpec,
    missing: usize,
) -> kube::Result<()> {
    let pod = pod_from(owner, template);
    let mut left = missing;
    while left > 0 {
        let round = left.min(BURST);
        let created = join_all((0..round).map(|_| context.create(&pod))).await;
        for result in created {
            match result {
                Ok(pod) => {
                    let note = format!("Created pod: {}", pod.name_any());
                    context.record(K::COMPONENT, owner, EventType::Normal, "SuccessfulCreate", note);
                }
                Err(error) if namespace_goes(&error) => return Ok(()),
                Err(error) => {
                    let note = format!("Error creating: {error}");
                    context.record(K::COMPONENT, owner, EventType::Warning, "FailedCreate", note);
                    return Err(error);
                }
            }
        }
        left -= round;
    }
    Ok(())
}

async fn shrink<K: Replicated>(
    context: &Context,
    owner: &K,
    mut living: Vec<Arc<Pod>>,
    surplus: usize,
) -> kube::Result<()> {
    let crowd = |pod: &Pod| {
        let node = node_of(pod);
        living.iter().filter(|other| node_of(other) == node).count()
    };
    let crowds: Vec<(String, usize)> = living.iter().map(|pod| (pod.name_any(), crowd(pod))).collect();
    living.sort_by_cached_key(|pod| {
        let crowd = crowds.iter().find(|(name, _)| *name == pod.name_any()).map_or(0, |(_, crowd)| *crowd);
        expendability(pod, crowd)
    });
    let params = DeleteParams::default();
    for round in living[..surplus].chunks(BURST) {
        let deleted = join_all(round.iter().map(|pod| context.delete(&**pod, &params))).await;
        for (pod, result) in round.iter().zip(deleted) {
            result?;
            let note = format!("Deleted pod: {}", pod.name_any());
            context.record(K::COMPONENT, owner, EventType::Normal, "SuccessfulDelete", note);
        }
    }
    Ok(())
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// Which pod goes first: unassigned, pending, not ready, on the fuller node, younger.
fn expendability(pod: &Pod, crowd: usize) -> impl Ord + use<> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
    let rank = match phase.as_deref() {
        Some("Running") => 2,
        Some("Unknown") => 1,
        _ => 0,
    };
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (
        node_of(pod).is_some(),
        rank,
        crate::endpoints::is_ready(pod),
        Reverse(crowd),
        Reverse(created),
        pod.name_any(),
    )
}

/// A pod as the template describes it.
fn pod_from<K: Replicated>(owner: &K, template: &PodTemplateSpec) -> Pod {
    let metadata = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", owner.name_any())),
            namespace: owner.namespace(),
            owner_references: owned_by(owner),
            labels: metadata.labels,
            annotations: metadata.annotations,
            finalizers: metadata.finalizers,
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

fn count<'a>(pods: impl Iterator<Item = &'a Arc<Pod>>, template: &PodTemplateSpec, min_ready: i32) -> Counts {
    let wanted = template.metadata.as_ref().and_then(|metadata| metadata.labels.clone()).unwrap_or_default();
    let now = Timestamp::now();
    let mut counts = Counts::default();
    for pod in pods {
        counts.replicas += 1;
        let labels = pod.labels();
        counts.labelled += i32::from(wanted.iter().all(|(name, value)| labels.get(name) == Some(value)));
        if crate::endpoints::is_ready(pod) {
            counts.ready += 1;
            counts.available += i32::from(
                ready_since(pod)
                    .is_none_or(|since| now.duration_since(since).as_secs() >= i64::from(min_ready)),
            );
        }
    }
    counts
}

fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| condition.type_ == "Ready")?
        .last_transition_time
        .as_ref()
        .map(|time| time.0)
}

/// Whether every field of `wanted` is already so.
pub(crate) fn covers(present: &serde_json::Value, wanted: &serde_json::Value) -> bool {
    match wanted {
        serde_json::Value::Object(fields) => fields
            .iter()
            .all(|(name, value)| covers(present.get(name).unwrap_or(&serde_json::Value::Null), value)),
        serde_json::Value::Null => true,
        // Numbers that are zero are left out of statuses.
        serde_json::Value::Number(number) if number.as_i64() == Some(0) => {
            present.is_null() || present == wanted
        }
        _ => present == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, node: Option<&str>, phase: &str, ready: bool, created: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "creationTimestamp": created},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        }))
        .unwrap()
    }

    #[test]
    fn the_least_useful_pod_goes_first() {
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z");
        let mut pods = [
            (pod("old", Some("n"), "Running", true, early), 1),
            (pod("young", Some("n"), "Running", true, late), 1),
            (pod("crowded", Some("m"), "Running", true, early), 3),
            (pod("unready", Some("n"), "Running", false, early), 1),
            (pod("pending", Some("n"), "Pending", false, early), 1),
            (pod("unassigned", None, "Pending", false, early), 1),
        ];
        pods.sort_by_cached_key(|(pod, crowd)| expendability(pod, *crowd));
        let names: Vec<String> = pods.iter().map(|(pod, _)| pod.name_any()).collect();
        assert_eq!(names, ["unassigned", "pending", "unready", "crowded", "young", "old"]);
    }

    #[test]
    fn a_status_that_says_the_same_is_not_written_again() {
        assert!(covers(
            &json!({"replicas": 2, "conditions": []}),
            &json!({"replicas": 2, "readyReplicas": 0})
        ));
        assert!(!covers(
            &json!({"replicas": 2, "readyReplicas": 1}),
            &json!({"replicas": 2, "readyReplicas": 0})
        ));
    }
}
