//! Rules of `metadata` (`k8s.io/apimachinery/pkg/api/validation/objectmeta.go`).

use std::collections::HashSet;

use serde_json::Value;

use super::names;
use super::report::Report;
use crate::field::FieldError;
use crate::meta;
use crate::schema::Kind;

/// All keys and values of the annotations together, in bytes.
const MAX_ANNOTATIONS: usize = 256 * 1024;

pub(super) fn object_meta(kind: &Kind, object: &Value, report: &mut Report) {
    let form = name_form(kind);
    let generate = meta::text(object, &["metadata", "generateName"]);
    if !generate.is_empty() {
        report.complaints("metadata.generateName", generate, form(&mask_trailing_dash(generate)));
    }
    let name = meta::name(object);
    if name.is_empty() {
        report.required("metadata.name", "name or generateName is required");
    } else {
        report.complaints("metadata.name", name, form(name));
    }
    let namespace = meta::namespace(object);
    match (kind.namespaced, namespace) {
        (true, "") => report.required("metadata.namespace", ""),
        (true, namespace) => {
            report.complaints("metadata.namespace", namespace, names::dns1123_label(namespace));
        }
        (false, "") => {}
        (false, _) => report.forbidden("metadata.namespace", "not allowed on this type"),
    }
    report.not_negative("metadata.generation", meta::at(object, &["metadata", "generation"]));
    common(object, report);
    finalizers(object, report);
}

pub(super) fn change(new: &Value, old: &Value, report: &mut Report) {
    if !meta::deletion_timestamp(old).is_empty() {
        let before: HashSet<&str> = meta::finalizers(old).collect();
        let mut added: Vec<&str> = meta::finalizers(new).filter(|one| !before.contains(one)).collect();
        added.sort_unstable();
        if !added.is_empty() {
            let quoted: Vec<String> = added.iter().map(|one| format!("{one:?}")).collect();
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                quoted.join(", ")
            );
            report.forbidden("metadata.finalizers", &detail);
        }
    }
    if meta::resource_version(new).is_empty() {
        report.invalid("metadata.resourceVersion", &Value::from(""), "must be specified for an update");
    }
    const KEPT: [&str; 6] =
        ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"];
    for field in KEPT {
        let path = ["metadata", field];
        report.unchanged(path.join("."), meta::at(new, &path), meta::at(old, &path));
    }
    common(new, report);
}

fn common(object: &Value, report: &mut Report) {
    report.labels("metadata.labels", meta::labels(object).unwrap_or(&Value::Null));
    annotations(object, report);
    owner_references(object, report);
}

fn annotations(object: &Value, report: &mut Report) {
    let mut size = 0;
    for (key, value) in meta::at(object, &["metadata", "annotations"]).as_object().into_iter().flatten() {
        size += key.len() + value.as_str().map_or(0, str::len);
        report.complaints("metadata.annotations", key, names::qualified_name(&key.to_lowercase()));
    }
    if size > MAX_ANNOTATIONS {
        report.add(FieldError::too_long("metadata.annotations", MAX_ANNOTATIONS));
    }
}

fn owner_references(object: &Value, report: &mut Report) {
    let path = "metadata.ownerReferences";
    let mut controller: Option<String> = None;
    for owner in meta::owner_references(object) {
        let text = |field: &str| meta::text(owner, &[field]);
        if text("apiVersion").is_empty() {
            report.invalid(format!("{path}.apiVersion"), &Value::from(""), "version must not be empty");
        }
        for field in ["kind", "name", "uid"] {
            if text(field).is_empty() {
                report.invalid(format!("{path}.{field}"), &Value::from(""), "must not be empty");
            }
        }
        if owner["controller"] == true {
            let name = format!("{}/{}", text("kind"), text("name"));
            if let Some(first) = &controller {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"
                );
                report.invalid(path, meta::at(object, &["metadata", "ownerReferences"]), &detail);
            }
            controller.get_or_insert(name);
        }
    }
}

fn finalizers(object: &Value, report: &mut Report) {
    for finalizer in meta::finalizers(object) {
        report.complaints("metadata.finalizers", finalizer, names::qualified_name(finalizer));
    }
    let has = |name: &str| meta::finalizers(object).any(|one| one == name);
    if has("orphan") && has("foregroundDeletion") {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        report.invalid("metadata.finalizers", meta::at(object, &["metadata", "finalizers"]), detail);
    }
}

/// The form of a kind's names. Services become DNS labels and environment variables, namespaces DNS
/// labels; other names need only be file and URL names.
fn name_form(kind: &Kind) -> names::Form {
    match (kind.group.as_str(), kind.kind.as_str()) {
        ("", "Service") => names::dns1035_label,
        ("", "Namespace") => names::dns1123_label,
        _ => names::dns1123_subdomain,
    }
}

/// A generated name continues after its prefix, so the prefix may end with a dash.
fn mask_trailing_dash(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => format!("{rest}a"),
        _ => prefix.to_owned(),
    }
}
