//! The rules of objects and the texts of their violations.

use serde_json::json;

use super::*;
use crate::defaults;

/// The errors of a new object, defaulted and completed with a name and namespace.
fn created(group: &str, kind: &str, object: Value) -> Vec<String> {
    let schema = Schema::builtin();
    let kind = schema.kind(group, "v1", kind).unwrap();
    create(schema, kind, &complete(kind, object)).iter().map(ToString::to_string).collect()
}

/// The errors of a change between two such objects.
fn changed(group: &str, kind: &str, new: Value, old: Value) -> Vec<String> {
    let schema = Schema::builtin();
    let kind = schema.kind(group, "v1", kind).unwrap();
    let (new, old) = (complete(kind, new), complete(kind, old));
    update(schema, kind, &new, &old).iter().map(ToString::to_string).collect()
}

fn complete(kind: &Kind, mut object: Value) -> Value {
    defaults::apply(Schema::builtin(), kind, &mut object);
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.entry("name").or_insert(json!("x"));
    metadata.entry("resourceVersion").or_insert(json!("1"));
    if kind.namespaced {
        metadata.entry("namespace").or_insert(json!("default"));
    }
    object
}

mod metadata;
mod others;
mod service;
mod workload;
