//! The kinds with little to show: Namespace, ConfigMap, Secret, ServiceAccount, Lease, Event.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{AGE, Column, NAME, age, column, name, since, wide};
use crate::meta;

const DATA: Column = column("Data", "string", "How many keys there are.");

pub(super) const NAMESPACE: &[Column] =
    &[NAME, column("Status", "string", "Whether the namespace is in use or being emptied."), AGE];

pub(super) fn namespace(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), json!(meta::text(object, &["status", "phase"])), age(object, now)]
}

pub(super) const CONFIG_MAP: &[Column] = &[NAME, DATA, AGE];

pub(super) fn config_map(object: &Value, now: Timestamp) -> Vec<Value> {
    let keys = ["data", "binaryData"].map(|field| object[field].as_object().map_or(0, Map::len));
    vec![name(object), json!(keys[0] + keys[1]), age(object, now)]
}

pub(super) const SECRET: &[Column] = &[NAME, column("Type", "string", "What the data is for."), DATA, AGE];

pub(super) fn secret(object: &Value, now: Timestamp) -> Vec<Value> {
    let keys = object["data"].as_object().map_or(0, Map::len);
    vec![name(object), json!(meta::text(object, &["type"])), json!(keys), age(object, now)]
}

pub(super) const SERVICE_ACCOUNT: &[Column] =
    &[NAME, column("Secrets", "string", "How many Secrets the account names."), AGE];

pub(super) fn service_account(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), json!(meta::list(object, &["secrets"]).len()), age(object, now)]
}

pub(super) const LEASE: &[Column] = &[NAME, column("Holder", "string", "Who holds the lease."), AGE];

pub(super) fn lease(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), json!(meta::text(object, &["spec", "holderIdentity"])), age(object, now)]
}

pub(super) const EVENT: &[Column] = &[
    column("Last Seen", "string", "How long ago it happened last."),
    column("Type", "string", "Normal or Warning."),
    column("Reason", "string", "What happened, in one word."),
    column("Object", "string", "The object that it happened to."),
    wide("Subobject", "string", "The part of the object that it happened to."),
    wide("Source", "string", "Who reports it."),
    column("Message", "string", "What happened, for people."),
    wide("First Seen", "string", "How long ago it happened first."),
    wide("Count", "string", "How often it happened."),
    wide("Name", "string", "The name of the Event."),
];

pub(super) fn event(object: &Value, now: Timestamp) -> Vec<Value> {
    let present = |field: &str| Some(&object[field]).filter(|time| !time.is_null());
    let first = present("firstTimestamp").unwrap_or(&object["eventTime"]);
    let series = &object["series"];
    let (last, count) = match series {
        Value::Null => {
            let count = object["count"].as_i64().filter(|count| *count > 0).unwrap_or(1);
            (present("lastTimestamp").unwrap_or(first), count)
        }
        series => (&series["lastObservedTime"], series["count"].as_i64().unwrap_or(0)),
    };
    let involved = &object["involvedObject"];
    let kind = meta::text(involved, &["kind"]).to_lowercase();
    let target = match meta::text(involved, &["name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let text = |field: &str| json!(meta::text(object, &[field]));
    vec![
        json!(since(last, now)),
        text("type"),
        text("reason"),
        json!(target),
        json!(meta::text(involved, &["fieldPath"])),
        json!(source(object)),
        json!(meta::text(object, &["message"]).trim()),
        json!(since(first, now)),
        json!(count),
        name(object),
    ]
}

fn source(event: &Value) -> String {
    let either = |old: &str, new: &str| match meta::text(event, &["source", old]) {
        "" => meta::text(event, &[new]).to_owned(),
        text => text.to_owned(),
    };
    let (component, host) = (either("component", "reportingComponent"), either("host", "reportingInstance"));
    if host.is_empty() { component } else { format!("{component}, {host}") }
}
