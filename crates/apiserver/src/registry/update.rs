//! Changes: read, change, check, compare-and-set, and again when another writer was faster.

use api::field::FieldError;
use api::schema::Kind;
use api::status::Status;
use bytes::Bytes;
use serde_json::{Value, json};
use store::{Change, Expect, Record};

use super::create::{now, place_in_namespace};
use super::{MAX_RACES, Registry, key, preview, rules};
use crate::object::{self, is_terminating, meta_list, meta_str, metadata};

/// The part of an object that a request may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All but the status.
    Main,
    /// The status alone.
    Status,
    /// The finalizers in the spec of a namespace.
    Finalize,
    /// The node of a pod, and the condition that tells of it.
    Binding,
}

impl Part {
    /// Whether the change may touch more than the part itself guarantees to be valid.
    fn needs_validation(self) -> bool {
        matches!(self, Self::Main | Self::Status)
    }
}

/// What a client demands of the object it changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Precondition {
    /// The object's uid.
    pub(crate) uid: Option<String>,
    /// The object's resource version.
    pub(crate) resource_version: Option<String>,
}

impl Precondition {
    /// Refuses to delete an object that is another than the client meant.
    pub(crate) fn check(&self, kind: &Kind, object: &Value) -> Result<(), Status> {
        let demands = [
            ("UID", "uid", &self.uid, "deleted and then recreated"),
            ("ResourceVersion", "resourceVersion", &self.resource_version, "modified"),
        ];
        for (word, field, wanted, fate) in demands {
            let found = meta_str(object, field);
            if let Some(wanted) = wanted
                && wanted != found
            {
                let detail = format!(
                    "the {word} in the precondition ({wanted}) does not match the {word} in record ({found}). \
                     The object might have been {fate}"
                );
                return Err(Status::precondition_failed(kind, meta_str(object, "name"), &detail));
            }
        }
        Ok(())
    }
}

/// Refuses an object that is not the one that the path names.
pub(crate) fn check_name(object: &Value, name: &str, namespace: Option<&str>) -> Result<(), Status> {
    let (own, space) = (meta_str(object, "name"), meta_str(object, "namespace"));
    if own.is_empty() {
        return Err(Status::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )));
    }
    if own != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        )));
    }
    match namespace.filter(|namespace| !space.is_empty() && space != *namespace) {
        Some(namespace) => Err(Status::bad_request(format!(
            "the namespace of the object ({space}) does not match the namespace on the request ({namespace})"
        ))),
        None => Ok(()),
    }
}

impl Registry {
    /// Replaces (a part of) an object by the one in `object`.
    ///
    /// # Errors
    /// The object does not exist, has another resource version than the given one names, or the
    /// new form is invalid.
    pub(crate) async fn replace(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        part: Part,
        mut object: Value,
        dry_run: bool,
    ) -> Result<(bool, Bytes), Status> {
        check_name(&object, name, namespace)?;
        place_in_namespace(kind, namespace, &mut object)?;
        let rules = rules::of(kind);
        let unconditional = meta_str(&object, "resourceVersion").is_empty();
        let creates = part == Part::Main && rules.create_on_update && unconditional;
        let replaced = |_: &Value| match unconditional && rules.needs_version {
            true => Err(version_missing(kind, name)),
            false => Ok(object.clone()),
        };
        match self.change(kind, namespace, name, part, dry_run, replaced).await {
            Err(status) if creates && status.code == 404 => {
                Ok((true, self.create(kind, namespace, object, dry_run).await?))
            }
            result => Ok((false, result?)),
        }
    }

    /// Changes (a part of) an object by a function of its present state, which may be called again
    /// when another writer was faster.
    pub(crate) async fn change(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        part: Part,
        dry_run: bool,
        change: impl Fn(&Value) -> Result<Value, Status>,
    ) -> Result<Bytes, Status> {
        let mut record = self.record(kind, namespace, name).await?;
        for _ in 0..MAX_RACES {
            let old = object::read(&record)?;
            let mut new = change(&old)?;
            let based_on = meta_str(&new, "resourceVersion");
            if !based_on.is_empty() && based_on != meta_str(&old, "resourceVersion") {
                return Err(Status::object_modified(kind, name));
            }
            self.finish(kind, part, &old, &mut new)?;
            if part.needs_validation() {
                let errors = api::validate::update(self.schema, kind, &new, &old);
                if !errors.is_empty() {
                    return Err(Status::invalid(kind, name, errors));
                }
            }
            let allocated = match kind.is("", "Service") && part == Part::Main {
                true => Some(self.services.allocate(kind, Some(&old), &mut new)?),
                false => None,
            };
            if new == old {
                return Ok(record.value);
            }
            if dry_run {
                return Ok(preview(&new));
            }
            match self.put(kind, namespace, name, &record, &new).await? {
                Ok(value) => {
                    if let Some(allocated) = allocated {
                        allocated.keep();
                    }
                    return Ok(value);
                }
                Err(Some(current)) => record = current,
                Err(None) => return Err(Status::not_found(kind, name)),
            }
        }
        Err(Status::object_modified(kind, name))
    }

    /// Assigns a pod to a node.
    ///
    /// # Errors
    /// The pod does not exist, is being deleted, or already has a node.
    pub(crate) async fn bind(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        node: &str,
        dry_run: bool,
    ) -> Result<Bytes, Status> {
        self.change(kind, namespace, name, Part::Binding, dry_run, |pod| {
            let refused = |why: String| {
                let mut status = Status::conflict(kind, name, &why);
                status.message = format!("Operation cannot be fulfilled on pods/binding {name:?}: {why}");
                status
            };
            if is_terminating(pod) {
                return Err(refused(format!("pod {name} is being deleted, cannot be assigned to a host")));
            }
            if let Some(own) = pod["spec"]["nodeName"].as_str().filter(|own| !own.is_empty()) {
                return Err(refused(format!("pod {name} is already assigned to node {own:?}")));
            }
            let mut bound = pod.clone();
            object::section(&mut bound, "spec").insert("nodeName".to_owned(), node.into());
            let scheduled = json!({
                "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now(),
            });
            let conditions =
                object::section(&mut bound, "status").entry("conditions").or_insert_with(|| json!([]));
            if let Value::Array(conditions) = conditions {
                conditions.retain(|condition| condition["type"] != "PodScheduled");
                conditions.push(scheduled);
            }
            Ok(bound)
        })
        .await
    }

    /// Writes the new form of an object; one that only waited for its finalizers goes with the last.
    pub(super) async fn put(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        name: &str,
        record: &Record,
        new: &Value,
    ) -> Result<Result<Bytes, Option<Record>>, Status> {
        let done = is_terminating(new) && !held_by_finalizers(new) && rules_release(kind, new);
        let draft = object::draft(new);
        let change = if done { Change::Delete(draft) } else { Change::Put(draft) };
        let key = key(kind, namespace, name);
        let outcome = self.commit(&key, change, Expect::Revision(record.revision)).await?;
        if let Ok(commit) = &outcome
            && done
        {
            self.after_delete(kind, namespace, name, commit.previous.as_ref()).await;
        }
        Ok(outcome.map(|commit| commit.record.value))
    }

    /// Puts back what the request may not change and counts the generation.
    fn finish(&self, kind: &Kind, part: Part, old: &Value, new: &mut Value) -> Result<(), Status> {
        let uid = meta_str(new, "uid");
        if !uid.is_empty() && uid != meta_str(old, "uid") {
            return Err(other_uid(kind, old, uid));
        }
        match part {
            Part::Main => {
                if kind.status {
                    copy_field(old, new, "status");
                }
                if kind.is("", "Namespace") {
                    copy_field(old, new, "spec");
                }
                if kind.is("", "Service") {
                    crate::service::carry_over(old, new);
                }
                keep_system_metadata(old, metadata(new));
                api::defaults::apply(self.schema, kind, new);
            }
            Part::Status => {
                let mut whole = old.clone();
                copy_field(new, &mut whole, "status");
                *new = whole;
                api::defaults::apply(self.schema, kind, new);
            }
            Part::Binding => {}
            Part::Finalize => {
                let mut whole = old.clone();
                object::section(&mut whole, "spec")
                    .insert("finalizers".to_owned(), new["spec"]["finalizers"].clone());
                *new = whole;
            }
        }
        if part == Part::Main && kind.has_generation() && desired(old) != desired(new) {
            let next = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            metadata(new).insert("generation".to_owned(), next.into());
        }
        Ok(())
    }
}

/// All but metadata and status: what the generation counts the changes of.
fn desired(object: &Value) -> Vec<(&String, &Value)> {
    let fields = object.as_object().into_iter().flatten();
    fields.filter(|(name, _)| !matches!(name.as_str(), "metadata" | "status")).collect()
}

/// An update that is meant for an object of the same name that is gone.
fn other_uid(kind: &Kind, old: &Value, uid: &str) -> Status {
    let (name, namespace) = (meta_str(old, "name"), meta_str(old, "namespace"));
    let key = key(kind, Some(namespace), name);
    let found = meta_str(old, "uid");
    Status::conflict(
        kind,
        name,
        &format!(
            "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: \
             Precondition failed: UID in precondition: {uid}, UID in object meta: {found}"
        ),
    )
}

/// An update that does not say which state it is based on, of a kind where that is needed.
fn version_missing(kind: &Kind, name: &str) -> Status {
    let detail = "must be specified for an update";
    Status::invalid(kind, name, vec![FieldError::invalid("metadata.resourceVersion", 0, detail)])
}

fn copy_field(from: &Value, to: &mut Value, field: &str) {
    let Some(fields) = to.as_object_mut() else { return };
    match from.get(field) {
        Some(value) => fields.insert(field.to_owned(), value.clone()),
        None => fields.remove(field),
    };
}

fn keep_system_metadata(old: &Value, new: &mut serde_json::Map<String, Value>) {
    new.remove("managedFields");
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "resourceVersion",
        "selfLink",
        "generateName",
    ] {
        match old["metadata"].get(field) {
            Some(value) => new.insert(field.to_owned(), value.clone()),
            None => new.remove(field),
        };
    }
}

/// Whether someone still has to finish before the object may go.
pub(super) fn held_by_finalizers(object: &Value) -> bool {
    meta_list(object, "finalizers").next().is_some()
}

/// A namespace also waits for the finalizers of its spec, a pod for the end of its grace period.
fn rules_release(kind: &Kind, object: &Value) -> bool {
    if kind.is("", "Namespace") {
        return object["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty);
    }
    object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
}
