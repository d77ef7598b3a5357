//! Small readings of `metadata` and of nested fields in objects in flight.
//!
//! Absent and wrongly typed fields read as empty: objects are checked when they are decoded.

use serde_json::{Map, Value};

/// The value at a path of object keys, or `Null`.
#[must_use]
pub fn at<'a>(object: &'a Value, path: &[&str]) -> &'a Value {
    static NULL: Value = Value::Null;
    path.iter().try_fold(object, |value, key| value.get(key)).unwrap_or(&NULL)
}

/// The text at a path of object keys, or `""`.
#[must_use]
pub fn text<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).as_str().unwrap_or_default()
}

/// The elements of the list at a path of object keys, or none.
#[must_use]
pub fn list<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    at(object, path).as_array().map_or(&[], Vec::as_slice)
}

/// `metadata.name`.
#[must_use]
pub fn name(object: &Value) -> &str {
    text(object, &["metadata", "name"])
}

/// `metadata.namespace`.
#[must_use]
pub fn namespace(object: &Value) -> &str {
    text(object, &["metadata", "namespace"])
}

/// `metadata.uid`.
#[must_use]
pub fn uid(object: &Value) -> &str {
    text(object, &["metadata", "uid"])
}

/// `metadata.resourceVersion`.
#[must_use]
pub fn resource_version(object: &Value) -> &str {
    text(object, &["metadata", "resourceVersion"])
}

/// `metadata.deletionTimestamp`; empty while nobody deleted the object.
#[must_use]
pub fn deletion_timestamp(object: &Value) -> &str {
    text(object, &["metadata", "deletionTimestamp"])
}

/// `metadata.labels`, when there are any.
#[must_use]
pub fn labels(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("labels")
}

/// One label's value.
#[must_use]
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    labels(object)?.get(key)?.as_str()
}

/// One annotation's value.
#[must_use]
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

/// `metadata.ownerReferences`.
#[must_use]
pub fn owner_references(object: &Value) -> &[Value] {
    list(object, &["metadata", "ownerReferences"])
}

/// The owner reference with `controller: true`, if any.
#[must_use]
pub fn controller_of(object: &Value) -> Option<&Value> {
    owner_references(object).iter().find(|owner| owner["controller"] == true)
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    list(object, &["metadata", "finalizers"]).iter().filter_map(Value::as_str)
}

/// The map of that name in `parent`, made when absent; `None` when `parent` is no object or the
/// field is something else.
pub fn child<'a>(parent: &'a mut Value, key: &str) -> Option<&'a mut Map<String, Value>> {
    let entry = parent.as_object_mut()?.entry(key).or_insert_with(|| Value::Object(Map::new()));
    entry.as_object_mut()
}
