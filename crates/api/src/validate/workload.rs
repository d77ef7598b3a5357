//! Rules of controllers of pods: Deployment, ReplicaSet, ReplicationController.

use serde_json::Value;

use super::names;
use super::pod;
use super::report::Report;
use crate::field::FieldError;
use crate::meta;
use crate::selector::LabelSelector;

const STRATEGIES: [&str; 2] = ["Recreate", "RollingUpdate"];
const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

pub(super) fn deployment(object: &Value, report: &mut Report) {
    let spec = &object["spec"];
    for field in ["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        report.not_negative(format!("spec.{field}"), &spec[field]);
    }
    selector_and_template(spec, report);
    strategy(&spec["strategy"], report);
    let number = |field: &str| spec[field].as_i64().unwrap_or(0);
    if spec["progressDeadlineSeconds"].is_i64()
        && number("progressDeadlineSeconds") <= number("minReadySeconds")
    {
        let value = &spec["progressDeadlineSeconds"];
        report.invalid("spec.progressDeadlineSeconds", value, "must be greater than minReadySeconds");
    }
}

pub(super) fn replica_set(object: &Value, report: &mut Report) {
    let spec = &object["spec"];
    report.not_negative("spec.replicas", &spec["replicas"]);
    report.not_negative("spec.minReadySeconds", &spec["minReadySeconds"]);
    selector_and_template(spec, report);
}

pub(super) fn replication_controller(object: &Value, report: &mut Report) {
    let spec = &object["spec"];
    report.not_negative("spec.replicas", &spec["replicas"]);
    report.not_negative("spec.minReadySeconds", &spec["minReadySeconds"]);
    let selector = &spec["selector"];
    report.labels("spec.selector", selector);
    if selector.as_object().is_none_or(serde_json::Map::is_empty) {
        report.required("spec.selector", "");
    }
    if spec["template"].is_null() {
        report.required("spec.template", "");
        return;
    }
    template(spec, selector, report);
}

/// The selector of an apps/v1 controller never changes: its pods would be orphaned.
pub(super) fn selector_change(new: &Value, old: &Value, report: &mut Report) {
    report.unchanged("spec.selector", &new["spec"]["selector"], &old["spec"]["selector"]);
}

fn selector_and_template(spec: &Value, report: &mut Report) {
    let selector = &spec["selector"];
    if selector.is_null() {
        report.required("spec.selector", "");
    } else {
        label_selector("spec.selector", selector, report);
        let empty = |field: &str| match &selector[field] {
            Value::Object(labels) => labels.is_empty(),
            Value::Array(expressions) => expressions.is_empty(),
            _ => true,
        };
        if empty("matchLabels") && empty("matchExpressions") {
            report.invalid("spec.selector", selector, "empty selector is invalid for deployment");
        }
    }
    template(spec, selector, report);
}

fn label_selector(path: &str, selector: &Value, report: &mut Report) {
    report.labels(&format!("{path}.matchLabels"), &selector["matchLabels"]);
    for (at, expression) in meta::list(selector, &["matchExpressions"]).iter().enumerate() {
        let path = format!("{path}.matchExpressions[{at}]");
        let values = meta::list(expression, &["values"]);
        let operator = meta::text(expression, &["operator"]);
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                report.required(
                    format!("{path}.values"),
                    "must be specified when `operator` is 'In' or 'NotIn'",
                );
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                report.forbidden(
                    format!("{path}.values"),
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                );
            }
            other if !OPERATORS.contains(&other) => {
                report.invalid(
                    format!("{path}.operator"),
                    &Value::from(other),
                    "not a valid selector operator",
                );
            }
            _ => {}
        }
        let key = meta::text(expression, &["key"]);
        report.complaints(&format!("{path}.key"), key, names::qualified_name(key));
        for (at, value) in values.iter().filter_map(Value::as_str).enumerate() {
            report.complaints(&format!("{path}.values[{at}]"), value, names::label_value(value));
        }
    }
}

fn template(spec: &Value, selector: &Value, report: &mut Report) {
    let template = &spec["template"];
    let labels = &template["metadata"]["labels"];
    let path = "spec.template";
    let matches = LabelSelector::from_object(selector).is_ok_and(|selector| selector.matches(Some(labels)));
    if !matches {
        let detail = "`selector` does not match template `labels`";
        report.invalid(format!("{path}.metadata.labels"), labels, detail);
    }
    report.labels(&format!("{path}.metadata.labels"), labels);
    let pod_spec = &template["spec"];
    let path = format!("{path}.spec");
    pod::pod_spec(&path, pod_spec, report);
    let restart = &pod_spec["restartPolicy"];
    if matches!(restart.as_str(), Some("OnFailure" | "Never")) {
        report.one_of(format!("{path}.restartPolicy"), restart, &["Always"]);
    }
    if !pod_spec["activeDeadlineSeconds"].is_null() {
        report.forbidden(
            format!("{path}.activeDeadlineSeconds"),
            "activeDeadlineSeconds in ReplicaSet is not Supported",
        );
    }
}

fn strategy(strategy: &Value, report: &mut Report) {
    let path = "spec.strategy";
    let rolling = &strategy["rollingUpdate"];
    match strategy["type"].as_str() {
        Some("Recreate") if !rolling.is_null() => {
            report.forbidden(
                format!("{path}.rollingUpdate"),
                "may not be specified when strategy `type` is 'Recreate'",
            );
        }
        Some("RollingUpdate") if rolling.is_null() => {
            report.required(format!("{path}.rollingUpdate"), "this should be defaulted and never be nil");
        }
        Some("RollingUpdate") => {
            let path = format!("{path}.rollingUpdate");
            let unavailable = share(&format!("{path}.maxUnavailable"), &rolling["maxUnavailable"], report);
            let surge = share(&format!("{path}.maxSurge"), &rolling["maxSurge"], report);
            if unavailable == Some(0) && surge == Some(0) {
                let value = &rolling["maxUnavailable"];
                report.invalid(format!("{path}.maxUnavailable"), value, "may not be 0 when `maxSurge` is 0");
            }
            let percent = rolling["maxUnavailable"].is_string();
            if percent && unavailable.is_some_and(|share| share > 100) {
                let value = &rolling["maxUnavailable"];
                report.invalid(format!("{path}.maxUnavailable"), value, "must not be greater than 100%");
            }
        }
        Some("Recreate") => {}
        _ => report.add(FieldError::not_supported(path, strategy.clone(), &STRATEGIES)),
    }
}

/// A number or percentage of pods; the number before the sign.
fn share(path: &str, value: &Value, report: &mut Report) -> Option<i64> {
    const FORM: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
    if let Some(number) = value.as_i64() {
        report.not_negative(path, value);
        return Some(number);
    }
    let text = value.as_str()?;
    let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|one| one.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok());
    if number.is_none() {
        report.invalid(path, value, FORM);
    }
    number
}
