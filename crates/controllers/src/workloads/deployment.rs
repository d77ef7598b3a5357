//! Deployments: a ReplicaSet for each form of the template, and the way from one to the next.

use std::hash::Hasher;
use std::sync::Arc;

use follow::EventType;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::DeleteParams;
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::replicas::covers;
use super::rollout::{self, Set};
use crate::runtime::cache::Key;
use crate::runtime::context::{Context, is_taken, namespace_goes, owned_by};

/// Tells the ReplicaSets of one Deployment and their pods apart.
const HASH: &str = "pod-template-hash";
/// Counts the templates that a Deployment has had.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// The name under which the controller reports.
const COMPONENT: &str = "deployment-controller";
/// How many hashes are tried for one template.
const MAX_HASHES: u32 = 10;
/// Letters of a template's hash: those of generated names.
const HASH_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Brings the ReplicaSets of one Deployment closer to what it asks for.
pub(crate) async fn reconcile(context: &Context, key: Key) -> kube::Result<()> {
    let Some(deployment) = context.cache::<Deployment>().get(&key) else { return Ok(()) };
    let Some(spec) = &deployment.spec else { return Ok(()) };
    if deployment.metadata.deletion_timestamp.is_some() {
        return Ok(());
    }
    let mut sets: Vec<Arc<ReplicaSet>> = context.cache::<ReplicaSet>().within(&key.namespace);
    sets.retain(|set| is_owned(set, &deployment));
    sets.sort_by_key(|set| revision(&**set));
    let current = sets.iter().position(|set| same_template(set, &spec.template));
    let newest = current.map(|index| sets.remove(index));
    let replicas = spec.replicas.unwrap_or(1);
    if spec.paused != Some(true) {
        let newest = match newest.clone() {
            Some(set) => set,
            None => match new_set(context, &deployment, &sets).await {
                Err(error) if namespace_goes(&error) => return Ok(()),
                result => Arc::new(result?),
            },
        };
        mark_revision(context, &deployment, &newest, &sets).await?;
        roll(context, &deployment, replicas, &newest, &sets).await?;
        clean_up(context, &deployment, &sets).await?;
        return report(context, &deployment, Some(&newest), &sets).await;
    }
    if let Some(newest) = &newest
        && sets.iter().all(|set| wanted(set) == 0)
    {
        scale(context, &deployment, newest, replicas).await?;
    }
    report(context, &deployment, newest.as_ref(), &sets).await
}

async fn roll(
    context: &Context,
    deployment: &Deployment,
    replicas: i32,
    newest: &Arc<ReplicaSet>,
    old: &[Arc<ReplicaSet>],
) -> kube::Result<()> {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    let limits = rollout::limits(strategy, replicas);
    let counts: Vec<Set> = old.iter().map(|set| counts(set)).collect();
    let step = rollout::step(replicas, limits, self::counts(newest), &counts);
    scale(context, deployment, newest, step.new).await?;
    for (set, replicas) in old.iter().zip(step.old) {
        scale(context, deployment, set, replicas).await?;
    }
    Ok(())
}

async fn scale(
    context: &Context,
    deployment: &Deployment,
    set: &ReplicaSet,
    replicas: i32,
) -> kube::Result<()> {
    let before = wanted(set);
    if before == replicas {
        return Ok(());
    }
    context.patch::<ReplicaSet>(&Key::of(set), &json!({ "spec": { "replicas": replicas } })).await?;
    let direction = if replicas > before { "up" } else { "down" };
    let note = format!("Scaled {direction} replica set {} from {before} to {replicas}", set.name_any());
    context.record(COMPONENT, deployment, EventType::Normal, "ScalingReplicaSet", note);
    Ok(())
}

async fn new_set(
    context: &Context,
    deployment: &Deployment,
    old: &[Arc<ReplicaSet>],
) -> kube::Result<ReplicaSet> {
    let spec = deployment.spec.as_ref().cloned().unwrap_or_default();
    let mut attempt = 0;
    loop {
        let hash = template_hash(&spec.template, attempt);
        let mut selector = spec.selector.clone();
        selector.match_labels.get_or_insert_default().insert(HASH.to_owned(), hash.clone());
        let mut template = spec.template.clone();
        let metadata = template.metadata.get_or_insert_default();
        metadata.labels.get_or_insert_default().insert(HASH.to_owned(), hash.clone());
        let revision = next_revision(old);
        let set = ReplicaSet {
            metadata: ObjectMeta {
                name: Some(format!("{}-{hash}", deployment.name_any())),
                namespace: deployment.namespace(),
                labels: metadata.labels.clone(),
                annotations: Some([(REVISION.to_owned(), revision.to_string())].into()),
                owner_references: owned_by(deployment),
                ..ObjectMeta::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(0),
                selector,
                template: Some(template),
                min_ready_seconds: spec.min_ready_seconds,
            }),
            status: None,
        };
        match context.create(&set).await {
            // Another template has the same hash, or another Deployment the same name: draw again.
            Err(error) if is_taken(&error) && attempt < MAX_HASHES => attempt += 1,
            result => return result,
        }
    }
}

/// One more than the highest of `old`. Everybody may write the annotation that it is kept in: at the end of the range
/// it stays there.
fn next_revision(old: &[Arc<ReplicaSet>]) -> u64 {
    old.iter().map(|set| revision(&**set)).max().unwrap_or(0).saturating_add(1)
}

/// The set in use has the highest revision, and its Deployment the same one.
async fn mark_revision(
    context: &Context,
    deployment: &Deployment,
    newest: &ReplicaSet,
    old: &[Arc<ReplicaSet>],
) -> kube::Result<()> {
    let next = next_revision(old);
    let mut own = revision(newest);
    if own < next {
        own = next;
        let patch = json!({ "metadata": { "annotations": { REVISION: own.to_string() } } });
        context.patch::<ReplicaSet>(&Key::of(newest), &patch).await?;
    }
    if revision(deployment) != own {
        let patch = json!({ "metadata": { "annotations": { REVISION: own.to_string() } } });
        context.patch::<Deployment>(&Key::of(deployment), &patch).await?;
    }
    Ok(())
}

/// Old sets without pods go, but for the last few that one may want to return to.
async fn clean_up(context: &Context, deployment: &Deployment, old: &[Arc<ReplicaSet>]) -> kube::Result<()> {
    let limit = deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit).unwrap_or(10);
    let idle: Vec<_> = old
        .iter()
        .filter(|set| wanted(set) == 0 && set.status.as_ref().is_none_or(|status| status.replicas == 0))
        .collect();
    let surplus = idle.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    for set in &idle[..surplus] {
        context.delete(&***set, &DeleteParams::background()).await?;
    }
    Ok(())
}

async fn report(
    context: &Context,
    deployment: &Deployment,
    newest: Option<&Arc<ReplicaSet>>,
    old: &[Arc<ReplicaSet>],
) -> kube::Result<()> {
    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let sum = |count: fn(&ReplicaSet) -> i32| {
        newest.into_iter().chain(old).fold(0_i32, |sum, set| sum.saturating_add(count(set)))
    };
    let total = sum(|set| set.status.as_ref().map_or(0, |status| status.replicas));
    let ready = sum(|set| set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0));
    let available = sum(|set| counts(set).available);
    let updated = newest.map_or(0, |set| counts(set).present);
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    let least = replicas - rollout::limits(strategy, replicas).map_or(0, |limits| limits.unavailable);
    let complete = updated == replicas && total == replicas && available == replicas;
    let name = newest.map(|set| set.name_any()).unwrap_or_default();
    let conditions = vec![
        condition(
            deployment,
            "Available",
            available >= least,
            match available >= least {
                true => ("MinimumReplicasAvailable", "Deployment has minimum availability.".to_owned()),
                false => (
                    "MinimumReplicasUnavailable",
                    "Deployment does not have minimum availability.".to_owned(),
                ),
            },
        ),
        condition(
            deployment,
            "Progressing",
            true,
            match complete {
                true => {
                    ("NewReplicaSetAvailable", format!("ReplicaSet {name:?} has successfully progressed."))
                }
                false => ("ReplicaSetUpdated", format!("ReplicaSet {name:?} is progressing.")),
            },
        ),
    ];
    let status = json!({
        "observedGeneration": deployment.metadata.generation,
        "replicas": total, "updatedReplicas": updated, "readyReplicas": ready,
        "availableReplicas": available, "unavailableReplicas": (replicas - available).max(0),
        "conditions": conditions,
    });
    if covers(&json!(deployment.status), &status) {
        return Ok(());
    }
    context.patch_status::<Deployment>(&Key::of(deployment), &status).await
}

/// A condition whose times move only when it does.
fn condition(
    deployment: &Deployment,
    type_: &str,
    holds: bool,
    (reason, message): (&str, String),
) -> DeploymentCondition {
    let status = if holds { "True" } else { "False" };
    let conditions = deployment.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let before = conditions.into_iter().find(|condition| condition.type_ == type_);
    let now = Time(Timestamp::now());
    let same_status = before.filter(|before| before.status == status);
    let same = same_status.filter(|before| before.reason.as_deref() == Some(reason));
    DeploymentCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: same_status
            .and_then(|before| before.last_transition_time.clone())
            .or(Some(now.clone())),
        last_update_time: same.and_then(|before| before.last_update_time.clone()).or(Some(now)),
    }
}

fn is_owned(set: &ReplicaSet, deployment: &Deployment) -> bool {
    set.owner_references()
        .iter()
        .any(|owner| owner.controller == Some(true) && Some(&owner.uid) == deployment.metadata.uid.as_ref())
}

fn same_template(set: &ReplicaSet, template: &PodTemplateSpec) -> bool {
    let Some(own) = set.spec.as_ref().and_then(|spec| spec.template.as_ref()) else { return false };
    let mut own = own.clone();
    if let Some(labels) = own.metadata.as_mut().and_then(|metadata| metadata.labels.as_mut()) {
        labels.remove(HASH);
    }
    json!(own) == json!(template)
}

fn template_hash(template: &PodTemplateSpec, attempt: u32) -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(json!(template).to_string().as_bytes());
    hasher.write_u32(attempt);
    let mut rest = hasher.finish();
    let letters = (0..10).map(|_| {
        let letter = HASH_LETTERS[(rest % HASH_LETTERS.len() as u64) as usize];
        rest /= HASH_LETTERS.len() as u64;
        char::from(letter)
    });
    letters.collect()
}

fn revision<K: Resource>(object: &K) -> u64 {
    object.annotations().get(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn wanted(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0)
}

fn counts(set: &ReplicaSet) -> Set {
    let status = set.status.as_ref();
    Set {
        wanted: wanted(set),
        present: status.map_or(0, |status| status.replicas),
        available: status.and_then(|status| status.available_replicas).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(image: &str) -> PodTemplateSpec {
        serde_json::from_value(json!({
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": image}]},
        }))
        .unwrap()
    }

    #[test]
    fn the_hash_of_a_template_is_stable_and_tells_templates_apart() {
        assert_eq!(template_hash(&template("a"), 0), template_hash(&template("a"), 0));
        assert_ne!(template_hash(&template("a"), 0), template_hash(&template("b"), 0));
        assert_ne!(template_hash(&template("a"), 0), template_hash(&template("a"), 1));
    }

    #[test]
    fn a_set_is_recognized_by_its_template_without_the_hash() {
        let mut own = template("a");
        own.metadata.as_mut().unwrap().labels.as_mut().unwrap().insert(HASH.into(), "x".into());
        let spec = ReplicaSetSpec { template: Some(own), ..ReplicaSetSpec::default() };
        let set = ReplicaSet { spec: Some(spec), ..ReplicaSet::default() };
        assert!(same_template(&set, &template("a")));
        assert!(!same_template(&set, &template("b")));
    }

    #[test]
    fn a_revision_at_the_end_of_its_range_stays_there() {
        let mut set = ReplicaSet::default();
        set.annotations_mut().insert(REVISION.to_owned(), u64::MAX.to_string());
        assert_eq!(next_revision(&[Arc::new(set)]), u64::MAX);
        assert_eq!(next_revision(&[]), 1);
    }
}
