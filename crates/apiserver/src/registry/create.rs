//! Creation: metadata, defaults, validation, allocation, commit.

use api::schema::Kind;
use api::status::{Reason, Status};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use store::{Change, Expect, Revision};

use super::{Registry, key, preview, rules};
use crate::object::{self, meta_str, metadata};

/// A generated name that is taken is drawn again so often (KEP-4420).
const NAME_TRIES: usize = 8;
/// Letters of generated names: no vowels and no lookalikes, so that no words form.
const NAME_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Letters that a generated name ends with.
const NAME_SUFFIX: usize = 5;
/// A generated name is cut to this length.
const NAME_MAX: usize = 63;

impl Registry {
    /// Creates an object and returns its final form.
    ///
    /// # Errors
    /// The object is invalid, its name is taken, or its namespace is missing or terminating.
    pub(crate) async fn create(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        mut object: Value,
        dry_run: bool,
    ) -> Result<Bytes, Status> {
        place_in_namespace(kind, namespace, &mut object)?;
        if meta_str(&object, "resourceVersion").parse().is_ok_and(|revision: Revision| revision > 0) {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(Status::new(500, Reason::Unknown, message));
        }
        self.check_namespace(kind, namespace, meta_str(&object, "name")).await?;
        let generate = meta_str(&object, "name").is_empty();
        let base = meta_str(&object, "generateName").to_owned();
        self.prepare(kind, &mut object);
        for _ in 0..NAME_TRIES {
            if generate && !base.is_empty() {
                metadata(&mut object).insert("name".to_owned(), generated_name(&base).into());
            }
            match self.create_named(kind, namespace, object.clone(), dry_run).await {
                Err(status) if generate && status.reason == Reason::AlreadyExists => {}
                result => return result,
            }
        }
        Err(Status::already_exists(kind, meta_str(&object, "name")))
    }

    async fn create_named(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        mut object: Value,
        dry_run: bool,
    ) -> Result<Bytes, Status> {
        api::defaults::apply(self.schema, kind, &mut object);
        let name = meta_str(&object, "name").to_owned();
        let errors = api::validate::create(self.schema, kind, &object);
        if !errors.is_empty() {
            return Err(Status::invalid(kind, &name, errors));
        }
        let key = key(kind, namespace, &name);
        let allocated = match kind.is("", "Service") {
            true => Some(self.services.allocate(kind, None, &mut object)?),
            false => None,
        };
        if dry_run {
            return match self.store.get(&key).await {
                Ok(None) => Ok(preview(&object)),
                Ok(Some(_)) => Err(Status::already_exists(kind, &name)),
                Err(error) => Err(super::read_error(&error)),
            };
        }
        match self.commit(&key, Change::Put(object::draft(&object)), Expect::Absent).await? {
            Ok(commit) => {
                if let Some(allocated) = allocated {
                    allocated.keep();
                }
                Ok(commit.record.value)
            }
            Err(_) => Err(Status::already_exists(kind, &name)),
        }
    }

    /// Sets what the server alone decides of a new object.
    fn prepare(&self, kind: &Kind, object: &mut Value) {
        let rules = rules::of(kind);
        if kind.status
            && !rules.keeps_status
            && let Some(fields) = object.as_object_mut()
        {
            fields.remove("status");
        }
        let meta = metadata(object);
        for field in [
            "resourceVersion",
            "selfLink",
            "managedFields",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
        ] {
            meta.remove(field);
        }
        meta.insert("uid".to_owned(), new_uid().into());
        meta.insert("creationTimestamp".to_owned(), now().into());
        if kind.has_generation() {
            meta.insert("generation".to_owned(), 1.into());
        }
        (rules.on_create)(object);
    }

    /// An object needs a namespace that exists and is not being deleted.
    async fn check_namespace(&self, kind: &Kind, namespace: Option<&str>, name: &str) -> Result<(), Status> {
        let (Some(namespace), Some(namespaces)) =
            (namespace.filter(|_| kind.namespaced), self.schema.resource("", "v1", "namespaces"))
        else {
            return Ok(());
        };
        let found = self.get(namespaces, None, namespace).await?;
        if object::is_terminating(&found) {
            let mut status = Status::forbidden(format!(
                "{} {name:?} is forbidden: unable to create new content in namespace {namespace} because it is being terminated",
                kind.qualified_resource()
            ));
            status.details.get_or_insert_default().causes.push(api::status::Cause {
                reason: "NamespaceTerminating".into(),
                message: format!("namespace {namespace} is being terminated"),
                field: "metadata.namespace".into(),
            });
            return Err(status);
        }
        Ok(())
    }
}

/// The namespace of the path and of the object must agree.
pub(super) fn place_in_namespace(
    kind: &Kind,
    namespace: Option<&str>,
    object: &mut Value,
) -> Result<(), Status> {
    let own = meta_str(object, "namespace");
    match namespace.filter(|_| kind.namespaced) {
        Some(namespace) if own.is_empty() => {
            metadata(object).insert("namespace".to_owned(), namespace.into());
        }
        Some(namespace) if own != namespace => {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        Some(_) => {}
        None if kind.namespaced => {
            return Err(Status::bad_request("an empty namespace may not be set during creation"));
        }
        None => {
            metadata(object).remove("namespace");
        }
    }
    Ok(())
}

fn generated_name(base: &str) -> String {
    let room = NAME_MAX - NAME_SUFFIX;
    let mut name: String = base.chars().take(room).collect();
    for _ in 0..NAME_SUFFIX {
        name.push(char::from(NAME_LETTERS[fastrand::usize(..NAME_LETTERS.len())]));
    }
    name
}

/// A random UUID, version 4 (RFC 9562, section 5.4).
fn new_uid() -> String {
    let bits = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// The present time as the API writes it: RFC 3339 in whole seconds.
pub(super) fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_a_version_4_uuid() {
        for _ in 0..100 {
            let uid = new_uid();
            assert_eq!(uid.len(), 36);
            assert_eq!(&uid[14..15], "4");
            assert!(matches!(&uid[19..20], "8" | "9" | "a" | "b"), "{uid}");
        }
    }

    #[test]
    fn a_generated_name_keeps_within_a_label() {
        let name = generated_name(&"x".repeat(80));
        assert_eq!(name.len(), NAME_MAX);
        assert!(generated_name("web-").starts_with("web-"));
    }
}
