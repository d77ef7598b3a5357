//! The rules that objects must follow, with upstream's messages.
//!
//! Objects are decoded and defaulted before they come here, so types are right and fixed defaults are in
//! place. Rules that need to know other objects (allocators, quotas) are the API server's.

mod addresses;
mod config;
mod endpoints;
mod metadata;
pub mod names;
mod node;
mod pod;
mod report;
mod service;
mod workload;

use serde_json::Value;

use crate::field::FieldError;
use crate::schema::{Kind, Schema};
use report::Report;

type Check = fn(&Value, &mut Report);
type Change = fn(&Value, &Value, &mut Report);

/// The rules of one kind.
struct Rules {
    group: &'static str,
    kind: &'static str,
    /// What holds for every object.
    always: Check,
    /// What holds for a change from the old (second) to the new (first) object.
    change: Change,
}

const fn rules(group: &'static str, kind: &'static str, always: Check, change: Change) -> Rules {
    Rules { group, kind, always, change }
}

const RULES: &[Rules] = &[
    rules("", "ConfigMap", config::config_map, config::config_map_change),
    rules("", "Endpoints", endpoints::endpoints, any_change),
    rules("", "Event", node::event, any_change),
    rules("", "Namespace", node::namespace, any_change),
    rules("", "Node", node::node, node::node_change),
    rules("", "Pod", pod::pod, pod::pod_change),
    rules("", "ReplicationController", workload::replication_controller, any_change),
    rules("", "Secret", config::secret, config::secret_change),
    rules("", "Service", service::service, service::service_change),
    rules("apps", "Deployment", workload::deployment, workload::selector_change),
    rules("apps", "ReplicaSet", workload::replica_set, workload::selector_change),
    rules("coordination.k8s.io", "Lease", node::lease, any_change),
    rules("discovery.k8s.io", "EndpointSlice", endpoints::endpoint_slice, endpoints::endpoint_slice_change),
];

fn any_change(_new: &Value, _old: &Value, _report: &mut Report) {}

/// The rules of `metadata`: name, namespace, labels, annotations, owners, finalizers.
#[must_use]
pub fn object_meta(kind: &Kind, object: &Value) -> Vec<FieldError> {
    let mut report = Report::default();
    metadata::object_meta(kind, object, &mut report);
    report.into_errors()
}

/// All rules for a new object, those of `metadata` among them.
#[must_use]
pub fn create(_schema: &Schema, kind: &Kind, object: &Value) -> Vec<FieldError> {
    let mut report = Report::default();
    metadata::object_meta(kind, object, &mut report);
    if let Some(rules) = rules_of(kind) {
        (rules.always)(object, &mut report);
    }
    report.into_errors()
}

/// All rules for a changed object, immutability among them. Server-kept metadata (uid, resourceVersion,
/// creation and deletion timestamps) must already be in `new`.
#[must_use]
pub fn update(_schema: &Schema, kind: &Kind, new: &Value, old: &Value) -> Vec<FieldError> {
    let mut report = Report::default();
    metadata::change(new, old, &mut report);
    if let Some(rules) = rules_of(kind) {
        (rules.change)(new, old, &mut report);
        (rules.always)(new, &mut report);
    }
    report.into_errors()
}

fn rules_of(kind: &Kind) -> Option<&'static Rules> {
    RULES.iter().find(|rules| kind.is(rules.group, rules.kind))
}

#[cfg(test)]
mod tests;
