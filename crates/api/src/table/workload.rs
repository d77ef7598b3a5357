//! Controllers of pods.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, CONTAINERS, Column, IMAGES, NAME, NONE, SELECTOR, age, column, labels, name};
use crate::meta;

pub(super) const DEPLOYMENT: &[Column] = &[
    NAME,
    column("Ready", "string", "How many of the wanted pods are ready."),
    column("Up-to-date", "string", "How many pods are of the newest template."),
    column("Available", "string", "How many pods have been ready for long enough."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let status = |field: &str| object["status"][field].as_i64().unwrap_or(0);
    let desired = object["spec"]["replicas"].as_i64().unwrap_or(0);
    let mut cells = vec![
        name(object),
        json!(format!("{}/{desired}", status("readyReplicas"))),
        json!(status("updatedReplicas")),
        json!(status("availableReplicas")),
        age(object, now),
    ];
    cells.extend(template(object));
    cells
}

pub(super) const REPLICAS: &[Column] = &[
    NAME,
    column("Desired", "integer", "How many pods are wanted."),
    column("Current", "integer", "How many pods there are."),
    column("Ready", "integer", "How many pods are ready."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) fn replicas(object: &Value, now: Timestamp) -> Vec<Value> {
    let status = |field: &str| json!(object["status"][field].as_i64().unwrap_or(0));
    let desired = object["spec"]["replicas"].as_i64().unwrap_or(0);
    let mut cells =
        vec![name(object), json!(desired), status("replicas"), status("readyReplicas"), age(object, now)];
    cells.extend(template(object));
    cells
}

/// Containers, images and selector.
fn template(object: &Value) -> [Value; 3] {
    let containers = meta::list(object, &["spec", "template", "spec", "containers"]);
    let all = |field: &str| {
        let texts: Vec<&str> = containers.iter().map(|container| meta::text(container, &[field])).collect();
        json!(texts.join(","))
    };
    [all("name"), all("image"), json!(selector(&object["spec"]["selector"]))]
}

/// A selector in its text form; plain maps and `LabelSelector` objects.
fn selector(selector: &Value) -> String {
    let expressions = meta::list(selector, &["matchExpressions"]);
    let plain = selector.as_object().is_some_and(|object| object.values().all(Value::is_string));
    let mut terms = match if plain { selector } else { &selector["matchLabels"] } {
        Value::Object(map) if !map.is_empty() => vec![labels(&Value::Object(map.clone()))],
        _ => Vec::new(),
    };
    for expression in expressions {
        let key = meta::text(expression, &["key"]);
        let values: Vec<&str> =
            meta::list(expression, &["values"]).iter().filter_map(Value::as_str).collect();
        let values = values.join(",");
        terms.push(match meta::text(expression, &["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    if terms.is_empty() { NONE.to_owned() } else { terms.join(",") }
}
