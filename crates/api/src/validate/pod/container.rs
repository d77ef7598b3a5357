//! Rules of containers: image, ports, environment, mounts, resources.

use std::collections::HashSet;

use serde_json::Value;

use super::{identity, probe};
use crate::field::FieldError;
use crate::meta;
use crate::quantity::Quantity;
use crate::validate::names;
use crate::validate::report::Report;

const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const TERMINATION_POLICIES: [&str; 2] = ["FallbackToLogsOnError", "File"];

/// The containers of a pod specification; names are unique over all three lists.
pub(super) fn containers(path: &str, spec: &Value, volumes: &HashSet<&str>, report: &mut Report) {
    if meta::list(spec, &["containers"]).is_empty() {
        report.required(format!("{path}.containers"), "");
    }
    let host_network = spec["hostNetwork"] == true;
    let mut seen = HashSet::new();
    let mut host_ports = HashSet::new();
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for (at, one) in meta::list(spec, &[list]).iter().enumerate() {
            let path = format!("{path}.{list}[{at}]");
            let name = meta::text(one, &["name"]);
            if name.is_empty() {
                report.required(format!("{path}.name"), "");
            } else {
                report.complaints(&format!("{path}.name"), name, names::dns1123_label(name));
                if !seen.insert(name) {
                    report.add(FieldError::duplicate(format!("{path}.name"), name));
                }
            }
            container(&path, one, volumes, report);
            ports(&path, one, host_network, report);
            if list == "containers" {
                unique_host_ports(&path, one, &mut host_ports, report);
            }
            if list != "initContainers" || one["restartPolicy"] == "Always" {
                probe::probes(&path, one, report);
            }
        }
    }
}

fn container(path: &str, container: &Value, volumes: &HashSet<&str>, report: &mut Report) {
    let image = meta::text(container, &["image"]);
    if image.is_empty() {
        report.required(format!("{path}.image"), "");
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        report.invalid(format!("{path}.image"), &container["image"], detail);
    }
    report.one_of(format!("{path}.imagePullPolicy"), &container["imagePullPolicy"], &PULL_POLICIES);
    report.optional_one_of(
        format!("{path}.terminationMessagePolicy"),
        &container["terminationMessagePolicy"],
        &TERMINATION_POLICIES,
    );
    identity::identity(path, &container["securityContext"], report);
    environment(path, container, report);
    mounts(path, container, volumes, report);
    resources(path, container, report);
}

fn ports(path: &str, container: &Value, host_network: bool, report: &mut Report) {
    let mut seen = HashSet::new();
    for (at, port) in meta::list(container, &["ports"]).iter().enumerate() {
        let path = format!("{path}.ports[{at}]");
        let name = meta::text(port, &["name"]);
        if !name.is_empty() {
            report.complaints(&format!("{path}.name"), name, names::port_name(name));
            if !seen.insert(name) {
                report.add(FieldError::duplicate(format!("{path}.name"), name));
            }
        }
        let (number, host) =
            (port["containerPort"].as_i64().unwrap_or(0), port["hostPort"].as_i64().unwrap_or(0));
        if number == 0 {
            report.required(format!("{path}.containerPort"), "");
        } else {
            report.port(&format!("{path}.containerPort"), &port["containerPort"]);
        }
        if host != 0 {
            report.port(&format!("{path}.hostPort"), &port["hostPort"]);
        }
        if host_network && host != number {
            let detail = "must match `hostPort` when `hostNetwork` is true";
            report.invalid(format!("{path}.containerPort"), &port["containerPort"], detail);
        }
        report.one_of(format!("{path}.protocol"), &port["protocol"], &PROTOCOLS);
    }
}

fn unique_host_ports<'a>(
    path: &str,
    container: &'a Value,
    seen: &mut HashSet<(&'a str, &'a str, i64)>,
    report: &mut Report,
) {
    for (at, port) in meta::list(container, &["ports"]).iter().enumerate() {
        let host = port["hostPort"].as_i64().unwrap_or(0);
        let key = (meta::text(port, &["protocol"]), meta::text(port, &["hostIP"]), host);
        if host != 0 && !seen.insert(key) {
            let shown = format!("{}/{}/{host}", key.0, key.1);
            report.add(FieldError::duplicate(format!("{path}.ports[{at}].hostPort"), shown));
        }
    }
}

fn environment(path: &str, container: &Value, report: &mut Report) {
    for (at, variable) in meta::list(container, &["env"]).iter().enumerate() {
        let path = format!("{path}.env[{at}]");
        let name = meta::text(variable, &["name"]);
        if name.is_empty() {
            report.required(format!("{path}.name"), "");
        } else {
            report.complaints(&format!("{path}.name"), name, names::env_name(name));
        }
        let source = &variable["valueFrom"];
        let sources = source.as_object().map_or(0, serde_json::Map::len);
        let path = format!("{path}.valueFrom");
        if source.is_null() {
            continue;
        }
        if !meta::text(variable, &["value"]).is_empty() {
            report.invalid(&path, &Value::from(""), "may not be specified when `value` is not empty");
        }
        match sources {
            0 => report.invalid(
                &path,
                &Value::from(""),
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
            ),
            1 => {}
            _ => report.invalid(&path, &Value::from(""), "may not have more than one field specified at a time"),
        }
        for field in ["configMapKeyRef", "secretKeyRef"] {
            let reference = &source[field];
            for needed in ["name", "key"] {
                if !reference.is_null() && meta::text(reference, &[needed]).is_empty() {
                    report.required(format!("{path}.{field}.{needed}"), "");
                }
            }
        }
        if !source["fieldRef"].is_null() && meta::text(&source["fieldRef"], &["fieldPath"]).is_empty() {
            report.required(format!("{path}.fieldRef.fieldPath"), "");
        }
    }
}

fn mounts(path: &str, container: &Value, volumes: &HashSet<&str>, report: &mut Report) {
    let mut seen = HashSet::new();
    for (at, mount) in meta::list(container, &["volumeMounts"]).iter().enumerate() {
        let path = format!("{path}.volumeMounts[{at}]");
        let (name, target) = (meta::text(mount, &["name"]), meta::text(mount, &["mountPath"]));
        if name.is_empty() {
            report.required(format!("{path}.name"), "");
        } else if !volumes.contains(name) {
            let kind = crate::field::FieldErrorKind::NotFound;
            report.add(FieldError::new(kind, format!("{path}.name"), name, ""));
        }
        if target.is_empty() {
            report.required(format!("{path}.mountPath"), "");
        } else if !seen.insert(target) {
            report.invalid(format!("{path}.mountPath"), &mount["mountPath"], "must be unique");
        }
        let sub_path = meta::text(mount, &["subPath"]);
        if sub_path.starts_with('/') {
            report.invalid(format!("{path}.subPath"), &mount["subPath"], "must be a relative path");
        } else if sub_path.split('/').any(|part| part == "..") {
            report.invalid(format!("{path}.subPath"), &mount["subPath"], "must not contain '..'");
        }
    }
}

fn resources(path: &str, container: &Value, report: &mut Report) {
    let resources = &container["resources"];
    let quantity = |value: &Value| value.as_str().and_then(Quantity::parse);
    for list in ["limits", "requests"] {
        for (resource, amount) in resources[list].as_object().into_iter().flatten() {
            let path = format!("{path}.resources.{list}[{resource}]");
            report.complaints(&path, resource, names::qualified_name(resource));
            if quantity(amount).is_some_and(|amount| amount.is_negative()) {
                report.invalid(&path, amount, "must be greater than or equal to 0");
            }
        }
    }
    for (resource, request) in resources["requests"].as_object().into_iter().flatten() {
        let limit = &resources["limits"][resource];
        if let (Some(asked), Some(allowed)) = (quantity(request), quantity(limit))
            && asked.compare(&allowed).is_gt()
        {
            let limit = limit.as_str().unwrap_or_default();
            let detail = format!("must be less than or equal to {resource} limit of {limit}");
            report.invalid(format!("{path}.resources.requests"), request, &detail);
        }
    }
}
