//! Deletion: preconditions, propagation, grace periods, finalizers.

use std::sync::Arc;

use api::field::FieldError;
use api::schema::Kind;
use api::seconds::Seconds;
use api::status::Status;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use store::{Change, Expect, Record};

use super::update::held_by_finalizers;
use super::{MAX_RACES, Precondition, Registry, Selection, key, preview, rules};
use crate::http::options;
use crate::object::{self, is_terminating, meta_list, meta_str, metadata};

/// Namespaces that the cluster cannot do without.
const IMMORTAL_NAMESPACES: [&str; 3] = ["default", "kube-public", "kube-system"];
/// The finalizer that makes dependents go first.
const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer that makes dependents stay.
const ORPHAN: &str = "orphan";

/// So many objects of a collection are deleted at a time: their writes share the store's groups.
const COLLECTION_WORKERS: usize = 64;

/// What may become of the dependents of an object.
const POLICIES: [&str; 3] = ["Foreground", "Background", "Orphan"];

/// What a client asks of a deletion (`DeleteOptions` of meta/v1).
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    /// What must hold of the object.
    pub(crate) precondition: Precondition,
    /// Seconds the object has to end; none leaves it to the object.
    pub(crate) grace: Option<i64>,
    /// The finalizer to add, if dependents are not simply left to the garbage collector.
    pub(crate) finalizer: Option<&'static str>,
    /// Whether nothing is to be persisted.
    pub(crate) dry_run: bool,
}

/// What a deletion did.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// The object is gone; this was its uid.
    Gone(String),
    /// The object as it stays until its finalizers or its grace period have ended, or of some kinds
    /// its last state.
    Object(Bytes),
}

impl Deleted {
    /// What is told of an object that is gone.
    fn gone(kind: &Kind, last: Bytes, old: &Value) -> Self {
        match rules::of(kind).returns_deleted {
            true => Self::Object(last),
            false => Self::Gone(meta_str(old, "uid").to_owned()),
        }
    }
}

impl DeleteOptions {
    /// Reads options from a decoded body.
    ///
    /// # Errors
    /// 422 with every option that breaks a rule.
    pub(crate) fn from_value(options: &Value) -> Result<Self, Status> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (policy, orphan) = (options["propagationPolicy"].as_str(), options["orphanDependents"].as_bool());
        let stages: Vec<&str> =
            options["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let dry_run = !stages.is_empty();
        let mut errors = Vec::new();
        if let (Some(policy), Some(_)) = (policy, orphan) {
            let detail = "orphanDependents and deletionPropagation cannot be both set";
            errors.push(FieldError::invalid("propagationPolicy", policy, detail));
        }
        if let Some(other) = policy.filter(|policy| !POLICIES.contains(policy)) {
            let supported = [&POLICIES[..], &["nil"]].concat();
            errors.push(FieldError::not_supported("propagationPolicy", other, &supported));
        }
        errors.extend(options::dry_run(stages));
        if !errors.is_empty() {
            return Err(Status::invalid_options("DeleteOptions", errors));
        }
        let finalizer = match (policy, orphan) {
            (Some("Orphan"), _) | (None, Some(true)) => Some(ORPHAN),
            (Some("Foreground"), _) => Some(FOREGROUND),
            _ => None,
        };
        Ok(Self {
            precondition: Precondition {
                uid: text(&options["preconditions"]["uid"]),
                resource_version: text(&options["preconditions"]["resourceVersion"]),
            },
            grace: options["gracePeriodSeconds"].as_i64(),
            finalizer,
            dry_run,
        })
    }
}

impl Registry {
    /// Deletes an object, or begins to.
    ///
    /// # Errors
    /// The object does not exist, is not the one that the preconditions name, or may not go.
    pub(crate) async fn delete(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        if kind.is("", "Namespace") && IMMORTAL_NAMESPACES.contains(&name) {
            return Err(Status::forbidden(format!(
                "namespaces {name:?} is forbidden: this namespace may not be deleted"
            )));
        }
        let mut record = self.record(kind, namespace, name).await?;
        for _ in 0..MAX_RACES {
            let old = object::read(&record)?;
            options.precondition.check(kind, &old)?;
            let new = marked(kind, &old, options);
            let stays = held_by_finalizers(&new)
                || new["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) > 0
                || kind.is("", "Namespace")
                    && new["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
            if options.dry_run {
                let shown = preview(&new);
                return Ok(if stays { Deleted::Object(shown) } else { Deleted::gone(kind, shown, &old) });
            }
            if stays && new == old {
                return Ok(Deleted::Object(record.value));
            }
            let change = match stays {
                true => Change::Put(object::draft(&new)),
                false => Change::Delete(object::draft(&new)),
            };
            match self.commit(&key(kind, namespace, name), change, Expect::Revision(record.revision)).await? {
                Ok(commit) if stays => return Ok(Deleted::Object(commit.record.value)),
                Ok(commit) => {
                    self.after_delete(kind, namespace, name, commit.previous.as_ref()).await;
                    return Ok(Deleted::gone(kind, commit.record.value, &old));
                }
                Err(Some(current)) => record = current,
                Err(None) => return Err(Status::not_found(kind, name)),
            }
        }
        Err(Status::object_modified(kind, name))
    }

    /// Deletes what a selection names and returns the last states.
    pub(crate) async fn delete_collection(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        selection: &Arc<Selection>,
        options: &DeleteOptions,
    ) -> Result<Vec<Bytes>, Status> {
        let listed = self.select(kind, namespace, selection, None).await?;
        let deletions = listed.clone().into_iter().map(|record| async move {
            let object = object::read_metadata(&record)?;
            match self.delete(kind, namespace, meta_str(&object, "name"), options).await {
                Err(status) if status.code != 404 => Err(status),
                _ => Ok(()),
            }
        });
        futures::stream::iter(deletions).buffer_unordered(COLLECTION_WORKERS).try_collect::<()>().await?;
        Ok(listed.into_iter().map(|record| record.value).collect())
    }

    /// What goes with an object: a Service gives its addresses back and takes its Endpoints along.
    pub(super) async fn after_delete(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        last: Option<&Record>,
    ) {
        if !kind.is("", "Service") {
            return;
        }
        if let Some(service) = last.and_then(|record| object::read(record).ok()) {
            self.services.release(&service);
        }
        let Some(endpoints) = self.schema.resource("", "v1", "endpoints") else { return };
        let options = DeleteOptions::default();
        if let Err(status) = Box::pin(self.delete(endpoints, namespace, name, &options)).await
            && status.code != 404
        {
            tracing::warn!(%status, service = name, "the Endpoints of a deleted Service could not be deleted");
        }
    }
}

/// The object with its deletion noted.
fn marked(kind: &Kind, old: &Value, options: &DeleteOptions) -> Value {
    let mut new = old.clone();
    let first = !is_terminating(old);
    let before = old["metadata"]["deletionGracePeriodSeconds"].as_i64();
    let asked = (rules::of(kind).grace)(old, options.grace).unwrap_or(0);
    let grace = if first { asked } else { before.unwrap_or(0).min(asked) };
    if first {
        if let Some(finalizer) = options.finalizer
            && !meta_list(old, "finalizers").any(|held| held == finalizer)
        {
            let list = metadata(&mut new).entry("finalizers").or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.push(finalizer.into());
            }
        }
        if kind.is("", "Namespace") {
            object::section(&mut new, "status").insert("phase".to_owned(), "Terminating".into());
        }
        if kind.has_generation() {
            let next = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            metadata(&mut new).insert("generation".to_owned(), next.into());
        }
    }
    if first || before != Some(grace) {
        let pause = SignedDuration::try_from(Seconds::from(grace).duration()).unwrap_or(SignedDuration::MAX);
        let end = Timestamp::now().saturating_add(pause).unwrap_or(Timestamp::MAX);
        let meta = metadata(&mut new);
        meta.insert("deletionTimestamp".to_owned(), end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into());
        meta.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_period_at_the_end_of_its_range_is_kept_and_its_end_can_be_written() {
        let kind = api::schema::Schema::builtin().resource("", "v1", "pods").unwrap();
        let pod = json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": i64::MAX}});
        for grace in [None, Some(i64::MAX), Some(i64::MIN), Some(0)] {
            let new = marked(kind, &pod, &DeleteOptions { grace, ..DeleteOptions::default() });
            let kept = grace.map_or(i64::MAX, |grace| if grace < 0 { 1 } else { grace });
            assert_eq!(new["metadata"]["deletionGracePeriodSeconds"], kept);
            let end = meta_str(&new, "deletionTimestamp").parse::<Timestamp>();
            assert!(end.is_ok_and(|end| end >= Timestamp::now() - SignedDuration::from_secs(2)), "{new}");
        }
    }
}
