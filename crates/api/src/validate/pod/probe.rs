//! Rules of probes and of the handlers that probes and lifecycle hooks share.

use serde_json::Value;

use crate::meta;
use crate::validate::names;
use crate::validate::report::Report;

const HANDLERS: [&str; 4] = ["exec", "grpc", "httpGet", "tcpSocket"];
const SCHEMES: [&str; 2] = ["HTTP", "HTTPS"];
const NUMBERS: [&str; 5] =
    ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];

/// The three probes and two hooks of a container.
pub(super) fn probes(path: &str, container: &Value, report: &mut Report) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = &container[name];
        if probe.is_null() {
            continue;
        }
        let path = format!("{path}.{name}");
        handler(&path, probe, report);
        for field in NUMBERS {
            report.not_negative(format!("{path}.{field}"), &probe[field]);
        }
        if name != "readinessProbe"
            && probe["successThreshold"].as_i64().is_some_and(|threshold| threshold != 1)
        {
            report.invalid(format!("{path}.successThreshold"), &probe["successThreshold"], "must be 1");
        }
        let grace = &probe["terminationGracePeriodSeconds"];
        if name == "readinessProbe" && !grace.is_null() {
            report.invalid(
                format!("{path}.terminationGracePeriodSeconds"),
                grace,
                "must not be set for readinessProbes",
            );
        } else if grace.as_i64().is_some_and(|seconds| seconds <= 0) {
            report.invalid(format!("{path}.terminationGracePeriodSeconds"), grace, "must be greater than 0");
        }
    }
    for name in ["postStart", "preStop"] {
        let hook = &container["lifecycle"][name];
        if !hook.is_null() && hook["sleep"].is_null() {
            handler(&format!("{path}.lifecycle.{name}"), hook, report);
        }
    }
}

fn handler(path: &str, holder: &Value, report: &mut Report) {
    let given: Vec<&str> = HANDLERS.into_iter().filter(|name| !holder[*name].is_null()).collect();
    if given.is_empty() {
        report.required(path, "must specify a handler type");
    }
    for further in given.iter().skip(1) {
        report.forbidden(format!("{path}.{further}"), "may not specify more than 1 handler type");
    }
    if !holder["exec"].is_null() && meta::list(holder, &["exec", "command"]).is_empty() {
        report.required(format!("{path}.exec.command"), "");
    }
    let http = &holder["httpGet"];
    if !http.is_null() {
        if meta::text(http, &["path"]).is_empty() {
            report.required(format!("{path}.httpGet.path"), "");
        }
        report.one_of(format!("{path}.httpGet.scheme"), &http["scheme"], &SCHEMES);
    }
    for name in ["httpGet", "tcpSocket"] {
        match &holder[name]["port"] {
            _ if holder[name].is_null() => {}
            Value::String(port) => {
                report.complaints(&format!("{path}.{name}.port"), port, names::port_name(port));
            }
            number => report.port(&format!("{path}.{name}.port"), number),
        }
    }
    if !holder["grpc"].is_null() {
        report.port(&format!("{path}.grpc.port"), &holder["grpc"]["port"]);
    }
}
