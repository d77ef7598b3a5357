//! Defaults of controllers of pods.

use serde_json::{Value, json};

use super::{Object, member};

/// A rolling update replaces a quarter of the pods at a time.
pub(super) fn deployment_strategy(strategy: &mut Object) {
    if strategy.get("type") == Some(&json!("RollingUpdate")) {
        let rolling = member(strategy, "rollingUpdate");
        rolling.entry("maxUnavailable").or_insert(json!("25%"));
        rolling.entry("maxSurge").or_insert(json!("25%"));
    }
}

/// A controller without selector or labels takes the labels of its template for both.
pub(super) fn replication_controller(controller: &mut Object) {
    let template =
        controller.get("spec").and_then(|spec| spec.get("template")?.get("metadata")?.get("labels"));
    let Some(labels) =
        template.filter(|labels| labels.as_object().is_some_and(|labels| !labels.is_empty())).cloned()
    else {
        return;
    };
    for (place, field) in [("spec", "selector"), ("metadata", "labels")] {
        let empty = |value: &Value| value.as_object().is_some_and(Object::is_empty);
        let place = member(controller, place);
        if place.get(field).is_none_or(empty) {
            place.insert(field.to_owned(), labels.clone());
        }
    }
}
