//! What `kubectl get` prints: the columns of each kind and the cells of each object.
//!
//! Source: `pkg/printers/internalversion/printers.go`. Columns of priority 1 show with `-o wide`; cells
//! are always complete.

mod config;
mod duration;
mod node;
mod pod;
mod service;
mod workload;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::meta;
use crate::schema::Kind;

pub use duration::human_duration;

/// One column.
struct Column {
    name: &'static str,
    ty: &'static str,
    wide: bool,
    description: &'static str,
}

const fn column(name: &'static str, ty: &'static str, description: &'static str) -> Column {
    Column { name, ty, wide: false, description }
}

const fn wide(name: &'static str, ty: &'static str, description: &'static str) -> Column {
    Column { name, ty, wide: true, description }
}

const NAME: Column = column("Name", "string", "The name of the object, unique among its kind and namespace.");
const AGE: Column = column("Age", "string", "How long ago the object was created.");
const CONTAINERS: Column = wide("Containers", "string", "The names of the containers in the pod template.");
const IMAGES: Column = wide("Images", "string", "The images of the containers in the pod template.");
const SELECTOR: Column = wide("Selector", "string", "The labels of the pods that belong to the object.");

/// How one kind prints.
struct Printer {
    group: &'static str,
    kind: &'static str,
    columns: &'static [Column],
    cells: fn(&Value, Timestamp) -> Vec<Value>,
}

/// Kinds without a printer of their own show name and age.
const DEFAULT: Printer = Printer {
    group: "",
    kind: "",
    columns: &[NAME, AGE],
    cells: |object, now| vec![name(object), age(object, now)],
};

const PRINTERS: &[Printer] = &[
    Printer { group: "", kind: "Service", columns: service::SERVICE, cells: service::service },
    Printer { group: "", kind: "Endpoints", columns: service::ENDPOINTS, cells: service::endpoints },
    Printer {
        group: "discovery.k8s.io",
        kind: "EndpointSlice",
        columns: service::ENDPOINT_SLICE,
        cells: service::endpoint_slice,
    },
    Printer { group: "", kind: "Pod", columns: pod::POD, cells: pod::pod },
    Printer { group: "", kind: "Node", columns: node::NODE, cells: node::node },
    Printer { group: "apps", kind: "Deployment", columns: workload::DEPLOYMENT, cells: workload::deployment },
    Printer { group: "apps", kind: "ReplicaSet", columns: workload::REPLICAS, cells: workload::replicas },
    Printer {
        group: "",
        kind: "ReplicationController",
        columns: workload::REPLICAS,
        cells: workload::replicas,
    },
    Printer { group: "", kind: "Namespace", columns: config::NAMESPACE, cells: config::namespace },
    Printer { group: "", kind: "ConfigMap", columns: config::CONFIG_MAP, cells: config::config_map },
    Printer { group: "", kind: "Secret", columns: config::SECRET, cells: config::secret },
    Printer {
        group: "",
        kind: "ServiceAccount",
        columns: config::SERVICE_ACCOUNT,
        cells: config::service_account,
    },
    Printer { group: "", kind: "Event", columns: config::EVENT, cells: config::event },
    Printer { group: "coordination.k8s.io", kind: "Lease", columns: config::LEASE, cells: config::lease },
];

fn printer(kind: &Kind) -> &'static Printer {
    PRINTERS.iter().find(|printer| kind.is(printer.group, printer.kind)).unwrap_or(&DEFAULT)
}

/// The column definitions of a kind's table (`meta.k8s.io/v1` `TableColumnDefinition`).
#[must_use]
pub fn columns(kind: &Kind) -> Vec<Value> {
    let columns = printer(kind).columns.iter();
    columns
        .map(|column| {
            json!({
                "name": column.name,
                "type": column.ty,
                "format": if column.name == "Name" { "name" } else { "" },
                "description": column.description,
                "priority": i32::from(column.wide),
            })
        })
        .collect()
}

/// The cells of one object, one for each column. Ages are counted to `now`.
#[must_use]
pub fn row(kind: &Kind, object: &Value, now: Timestamp) -> Vec<Value> {
    (printer(kind).cells)(object, now)
}

const NONE: &str = "<none>";
const UNKNOWN: &str = "<unknown>";

fn name(object: &Value) -> Value {
    json!(meta::name(object))
}

fn age(object: &Value, now: Timestamp) -> Value {
    json!(since(&object["metadata"]["creationTimestamp"], now))
}

/// The time passed since a timestamp, for people.
fn since(timestamp: &Value, now: Timestamp) -> String {
    match timestamp.as_str().and_then(|text| text.parse::<Timestamp>().ok()) {
        Some(then) => human_duration(now.as_second() - then.as_second()),
        None => UNKNOWN.to_owned(),
    }
}

/// A text at a path, or `instead` when there is none.
fn text_or(object: &Value, path: &[&str], instead: &str) -> Value {
    match meta::text(object, path) {
        "" => json!(instead),
        text => json!(text),
    }
}

/// A map of labels as `a=b,c=d`.
fn labels(labels: &Value) -> String {
    let pairs: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() { NONE.to_owned() } else { pairs.join(",") }
}

/// The first three of a list, and how many more there are.
fn abridged(all: &[String]) -> String {
    const SHOWN: usize = 3;
    let mut text = all[..all.len().min(SHOWN)].join(",");
    if all.len() > SHOWN {
        text.push_str(&format!(" + {} more...", all.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests;
