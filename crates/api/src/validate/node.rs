//! Rules of the smaller kinds: Namespace, Node, Lease, Event.

use serde_json::Value;

use super::report::Report;
use super::{addresses, names};
use crate::meta;

const TAINT_EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub(super) fn namespace(object: &Value, report: &mut Report) {
    for (at, finalizer) in meta::list(object, &["spec", "finalizers"]).iter().enumerate() {
        let text = finalizer.as_str().unwrap_or_default();
        report.complaints(&format!("spec.finalizers[{at}]"), text, names::qualified_name(text));
    }
}

pub(super) fn node(object: &Value, report: &mut Report) {
    let cidrs = meta::list(object, &["spec", "podCIDRs"]);
    for (at, cidr) in cidrs.iter().enumerate() {
        addresses::cidr(&format!("spec.podCIDRs[{at}]"), cidr, report);
    }
    if cidrs.len() > 2 {
        let all = meta::at(object, &["spec", "podCIDRs"]);
        report.invalid("spec.podCIDRs", all, "may specify no more than one CIDR for each IP family");
    }
    for (at, taint) in meta::list(object, &["spec", "taints"]).iter().enumerate() {
        let path = format!("spec.taints[{at}]");
        let (key, value) = (meta::text(taint, &["key"]), meta::text(taint, &["value"]));
        report.complaints(&format!("{path}.key"), key, names::qualified_name(key));
        report.complaints(&format!("{path}.value"), value, names::label_value(value));
        report.one_of(format!("{path}.effect"), &taint["effect"], &TAINT_EFFECTS);
    }
}

pub(super) fn node_change(new: &Value, old: &Value, report: &mut Report) {
    for (field, name) in [("podCIDRs", "podCIDR"), ("providerID", "providerID")] {
        let path = ["spec", field];
        let (new, old) = (meta::at(new, &path), meta::at(old, &path));
        if !old.is_null() && new != old {
            let detail = format!("node updates may not change {name} except from \"\" to valid");
            report.forbidden(path.join("."), &detail);
        }
    }
}

pub(super) fn lease(object: &Value, report: &mut Report) {
    let spec = &object["spec"];
    if spec["leaseDurationSeconds"].as_i64().is_some_and(|seconds| seconds <= 0) {
        report.invalid("spec.leaseDurationSeconds", &spec["leaseDurationSeconds"], "must be greater than 0");
    }
    report.not_negative("spec.leaseTransitions", &spec["leaseTransitions"]);
}

pub(super) fn event(object: &Value, report: &mut Report) {
    let involved = meta::text(object, &["involvedObject", "namespace"]);
    let namespace = meta::namespace(object);
    let reported_anew = !object["eventTime"].is_null();
    // Events about objects without a namespace are kept in "default".
    let expected = match (involved, reported_anew) {
        ("", true) => matches!(namespace, "default" | "kube-system"),
        ("", false) => namespace == "default",
        (involved, _) => namespace == involved,
    };
    if !expected {
        let value = Value::from(involved);
        report.invalid("involvedObject.namespace", &value, "does not match event.namespace");
    }
    if reported_anew && meta::text(object, &["reportingComponent"]).is_empty() {
        report.required("reportingComponent", "");
    }
}
