//! Upstream's defaults, applied wherever a message occurs: a pod template is defaulted as a pod is.
//!
//! Fixed values are in `schema/defaults.table`; defaults that depend on other fields are rules in code,
//! one function per message, run after the fixed values.

mod pod;
mod service;
mod workload;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::schema::{Field, Kind, MessageId, Presence, Schema, Shape, Type};

pub(crate) type Object = Map<String, Value>;

/// Completes one structure.
type Rule = fn(&mut Object);

/// The rules, by the message that they complete.
const RULES: &[(&str, Rule)] = &[
    ("core/v1.Container", pod::container),
    ("core/v1.EphemeralContainer", pod::container),
    ("core/v1.Namespace", namespace),
    ("core/v1.NodeSpec", node_spec),
    ("core/v1.NodeStatus", node_status),
    ("core/v1.Pod", pod::pod),
    ("core/v1.PodSpec", pod::pod_spec),
    ("core/v1.ReplicationController", workload::replication_controller),
    ("core/v1.Secret", secret),
    ("core/v1.Service", service::service),
    ("core/v1.Volume", pod::volume),
    ("apps/v1.DeploymentStrategy", workload::deployment_strategy),
];

/// Fills in what the client left out, and the structures and zero values that Go clients are used to see.
/// Applying it twice changes nothing more.
pub fn apply(schema: &Schema, kind: &Kind, object: &mut Value) {
    if let Value::Object(object) = object {
        structure(schema, kind.message, object);
    }
}

fn structure(schema: &Schema, message: MessageId, object: &mut Object) {
    for field in schema.fields(message) {
        match object.get_mut(&field.name) {
            Some(value) => descend(schema, field, value),
            None => {
                if let Some(mut value) = absent(field) {
                    descend(schema, field, &mut value);
                    object.insert(field.name.clone(), value);
                }
            }
        }
    }
    let name = &schema.message(message).name;
    if let Some((_, rule)) = RULES.iter().find(|(rule, _)| rule == name) {
        rule(object);
    }
}

fn descend(schema: &Schema, field: &Field, value: &mut Value) {
    let Type::Message(message) = field.ty else { return };
    match (field.shape, value) {
        (Shape::One, Value::Object(object)) => structure(schema, message, object),
        (Shape::List, Value::Array(elements)) => {
            elements
                .iter_mut()
                .filter_map(Value::as_object_mut)
                .for_each(|one| structure(schema, message, one));
        }
        (Shape::Map, Value::Object(entries)) => {
            entries
                .values_mut()
                .filter_map(Value::as_object_mut)
                .for_each(|one| structure(schema, message, one));
        }
        _ => {}
    }
}

/// What an absent field becomes.
fn absent(field: &Field) -> Option<Value> {
    if field.default.is_some() {
        return field.default.clone();
    }
    if field.always_present() {
        return Some(Value::Object(Map::new()));
    }
    if field.presence != Presence::Always || field.shape != Shape::One {
        return None;
    }
    match field.ty {
        Type::String => Some(Value::from("")),
        Type::Int32 | Type::Int64 => Some(Value::from(0)),
        Type::Bool => Some(Value::from(false)),
        _ => None,
    }
}

/// The label that lets selectors find a namespace by name, and the finalizer that lets it be emptied.
fn namespace(namespace: &mut Object) {
    let name = text(namespace, "metadata", "name").to_owned();
    if !name.is_empty() {
        let labels = member(member(namespace, "metadata"), "labels");
        labels.insert("kubernetes.io/metadata.name".to_owned(), Value::from(name));
    }
    if text(namespace, "metadata", "deletionTimestamp").is_empty() {
        let finalizers = member(namespace, "spec").entry("finalizers");
        finalizers.or_insert_with(|| Value::from(vec!["kubernetes"]));
    }
}

/// `podCIDR` is the first of `podCIDRs`; whichever is missing follows the other.
fn node_spec(spec: &mut Object) {
    let first = spec.get("podCIDRs").and_then(|all| all.get(0)).cloned();
    match (spec.get("podCIDR").cloned(), first) {
        (Some(one), None) => {
            spec.insert("podCIDRs".to_owned(), Value::Array(vec![one]));
        }
        (None, Some(first)) => {
            spec.insert("podCIDR".to_owned(), first);
        }
        _ => {}
    }
}

/// `stringData` is a way to write `data` without base64; it is never kept.
fn secret(secret: &mut Object) {
    let Some(Value::Object(plain)) = secret.remove("stringData") else { return };
    let data = member(secret, "data");
    for (key, value) in plain {
        data.insert(key, Value::from(STANDARD.encode(value.as_str().unwrap_or_default())));
    }
}

/// What can be allocated is all there is, unless the node says otherwise.
fn node_status(status: &mut Object) {
    if let (Some(capacity), None) = (status.get("capacity").cloned(), status.get("allocatable")) {
        status.insert("allocatable".to_owned(), capacity);
    }
}

/// The object of that name, made when it is absent.
pub(crate) fn member<'a>(object: &'a mut Object, name: &str) -> &'a mut Object {
    let entry = object.entry(name).or_insert(Value::Null);
    if !entry.is_object() {
        *entry = Value::Object(Map::new());
    }
    match entry {
        Value::Object(object) => object,
        _ => unreachable!("it was made an object above"),
    }
}

/// The text of a field of a member, or `""`.
pub(crate) fn text<'a>(object: &'a Object, outer: &str, inner: &str) -> &'a str {
    object.get(outer).and_then(|outer| outer.get(inner)).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests;
