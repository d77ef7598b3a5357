//! Rules of pods and pod templates (`ValidatePodSpec`), as far as this system uses what they guard.

mod change;
mod container;
mod identity;
mod probe;
mod volume;

use serde_json::Value;

use super::names;
use super::report::Report;
use crate::meta;

pub(super) use change::pod_change;

const RESTART_POLICIES: [&str; 3] = ["Always", "Never", "OnFailure"];
const DNS_POLICIES: [&str; 4] = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
const TOLERATION_OPERATORS: [&str; 2] = ["Equal", "Exists"];
const TOLERATION_EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "PreferNoSchedule"];
/// As many as the resolver libraries take (`MAXNS`).
const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;

pub(super) fn pod(object: &Value, report: &mut Report) {
    pod_spec("spec", &object["spec"], report);
}

/// The rules of a pod specification, wherever it is.
pub(super) fn pod_spec(path: &str, spec: &Value, report: &mut Report) {
    let volumes = volume::volumes(path, spec, report);
    container::containers(path, spec, &volumes, report);
    report.one_of(format!("{path}.restartPolicy"), &spec["restartPolicy"], &RESTART_POLICIES);
    dns(path, spec, report);
    report.not_negative(
        format!("{path}.terminationGracePeriodSeconds"),
        &spec["terminationGracePeriodSeconds"],
    );
    if let Some(seconds) = spec["activeDeadlineSeconds"].as_i64() {
        for detail in names::between(seconds, 1, i64::from(i32::MAX)) {
            report.invalid(format!("{path}.activeDeadlineSeconds"), &spec["activeDeadlineSeconds"], &detail);
        }
    }
    identity::identity(path, &spec["securityContext"], report);
    report.labels(&format!("{path}.nodeSelector"), &spec["nodeSelector"]);
    let named: [(&str, names::Form); 5] = [
        ("nodeName", names::dns1123_subdomain),
        ("serviceAccountName", names::dns1123_subdomain),
        ("hostname", names::dns1123_label),
        ("subdomain", names::dns1123_label),
        ("schedulerName", names::dns1123_subdomain),
    ];
    for (field, form) in named {
        if let Some(name) = spec[field].as_str() {
            report.complaints(&format!("{path}.{field}"), name, form(name));
        }
    }
    tolerations(path, spec, report);
    host_aliases(path, spec, report);
}

fn dns(path: &str, spec: &Value, report: &mut Report) {
    report.one_of(format!("{path}.dnsPolicy"), &spec["dnsPolicy"], &DNS_POLICIES);
    let config = &spec["dnsConfig"];
    let path = format!("{path}.dnsConfig");
    let nameservers = meta::list(config, &["nameservers"]);
    if spec["dnsPolicy"] == "None" {
        if config.is_null() {
            report.required(&path, "must provide `dnsConfig` when `dnsPolicy` is None");
        } else if nameservers.is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            report.required(format!("{path}.nameservers"), detail);
        }
    }
    if nameservers.len() > MAX_NAMESERVERS {
        let detail = format!("must not have more than {MAX_NAMESERVERS} nameservers");
        report.invalid(format!("{path}.nameservers"), &config["nameservers"], &detail);
    }
    for (at, server) in nameservers.iter().enumerate() {
        super::addresses::ip(&format!("{path}.nameservers[{at}]"), server, report);
    }
    let searches = meta::list(config, &["searches"]);
    if searches.len() > MAX_SEARCHES {
        let detail = format!("must not have more than {MAX_SEARCHES} search paths");
        report.invalid(format!("{path}.searches"), &config["searches"], &detail);
    }
    for (at, search) in searches.iter().filter_map(Value::as_str).enumerate() {
        let bare = search.strip_suffix('.').unwrap_or(search);
        if search != "." {
            report.complaints(&format!("{path}.searches[{at}]"), search, names::dns1123_subdomain(bare));
        }
    }
    for (at, option) in meta::list(config, &["options"]).iter().enumerate() {
        if meta::text(option, &["name"]).is_empty() {
            report.required(format!("{path}.options[{at}]"), "must not be empty");
        }
    }
}

fn tolerations(path: &str, spec: &Value, report: &mut Report) {
    for (at, toleration) in meta::list(spec, &["tolerations"]).iter().enumerate() {
        let path = format!("{path}.tolerations[{at}]");
        let (key, value) = (meta::text(toleration, &["key"]), meta::text(toleration, &["value"]));
        let operator = meta::text(toleration, &["operator"]);
        if key.is_empty() {
            if operator != "Exists" {
                let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
                report.invalid(format!("{path}.operator"), &Value::from(operator), detail);
            }
        } else {
            report.complaints(&format!("{path}.key"), key, names::qualified_name(key));
        }
        if operator == "Exists" && !value.is_empty() {
            let detail = "value must be empty when `operator` is 'Exists'";
            report.invalid(format!("{path}.operator"), &toleration["operator"], detail);
        }
        report.optional_one_of(format!("{path}.operator"), &toleration["operator"], &TOLERATION_OPERATORS);
        report.optional_one_of(format!("{path}.effect"), &toleration["effect"], &TOLERATION_EFFECTS);
        if !toleration["tolerationSeconds"].is_null() && toleration["effect"] != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            report.invalid(format!("{path}.effect"), &toleration["effect"], detail);
        }
    }
}

fn host_aliases(path: &str, spec: &Value, report: &mut Report) {
    for (at, alias) in meta::list(spec, &["hostAliases"]).iter().enumerate() {
        let path = format!("{path}.hostAliases[{at}]");
        super::addresses::ip(&format!("{path}.ip"), &alias["ip"], report);
        for (at, name) in meta::list(alias, &["hostnames"]).iter().filter_map(Value::as_str).enumerate() {
            report.complaints(&format!("{path}.hostnames[{at}]"), name, names::dns1123_subdomain(name));
        }
    }
}
