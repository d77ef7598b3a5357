//! What may change in a pod: images, and a few fields that controllers and the node agent set.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::meta;
use crate::validate::report::Report;

const DETAIL: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(in crate::validate) fn pod_change(new: &Value, old: &Value, report: &mut Report) {
    let (new, old) = (&new["spec"], &old["spec"]);
    for list in ["containers", "initContainers"] {
        if meta::list(new, &[list]).len() != meta::list(old, &[list]).len() {
            report.forbidden(format!("spec.{list}"), "pod updates may not add or remove containers");
            return;
        }
    }
    let (deadline, old_deadline) = (&new["activeDeadlineSeconds"], &old["activeDeadlineSeconds"]);
    match (deadline.as_i64(), old_deadline.as_i64()) {
        (Some(new_seconds), Some(old_seconds)) if new_seconds > old_seconds => {
            let detail = "must be less than or equal to previous value";
            report.invalid("spec.activeDeadlineSeconds", deadline, detail);
        }
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            report.invalid("spec.activeDeadlineSeconds", deadline, detail);
        }
        _ => {}
    }
    let tolerations: HashSet<&Value> = meta::list(new, &["tolerations"]).iter().collect();
    if meta::list(old, &["tolerations"]).iter().any(|one| !tolerations.contains(one)) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        report.forbidden("spec.tolerations", detail);
    }
    if fixed(new, old) != fixed(old, old) {
        report.forbidden("spec", DETAIL);
    }
}

/// The specification with everything that may change set to what it was.
fn fixed(spec: &Value, old: &Value) -> Value {
    let mut fixed = spec.as_object().cloned().unwrap_or_else(Map::new);
    for field in ["activeDeadlineSeconds", "tolerations", "ephemeralContainers"] {
        fixed.remove(field);
    }
    if old["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0)
        && spec["terminationGracePeriodSeconds"] == 1
    {
        fixed
            .insert("terminationGracePeriodSeconds".to_owned(), old["terminationGracePeriodSeconds"].clone());
    }
    for list in ["containers", "initContainers"] {
        let containers = fixed.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            container.remove("image");
        }
    }
    Value::Object(fixed)
}
