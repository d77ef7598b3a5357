//! Rules of ConfigMaps and Secrets.

use serde_json::Value;

use super::names;
use super::report::{IMMUTABLE, Report};
use crate::field::FieldError;
use crate::meta;

/// All data of one object together, in bytes.
const MAX_DATA: usize = 1024 * 1024;
const IMMUTABLE_SET: &str = "field is immutable when `immutable` is set";

pub(super) fn config_map(object: &Value, report: &mut Report) {
    let mut size = 0;
    for field in ["data", "binaryData"] {
        for (key, value) in object[field].as_object().into_iter().flatten() {
            report.complaints(&format!("{field}[{key}]"), key, names::config_key(key));
            size += data_size(field == "binaryData", value);
        }
    }
    for key in object["binaryData"].as_object().into_iter().flatten().map(|(key, _)| key) {
        if !object["data"][key].is_null() {
            let detail = "duplicate of key present in data";
            report.invalid(format!("binaryData[{key}]"), &Value::from(key.as_str()), detail);
        }
    }
    if size > MAX_DATA {
        report.add(FieldError::too_long("[]", MAX_DATA));
    }
}

pub(super) fn config_map_change(new: &Value, old: &Value, report: &mut Report) {
    kept_when_immutable(new, old, &["data", "binaryData"], report);
}

pub(super) fn secret(object: &Value, report: &mut Report) {
    let mut size = 0;
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        report.complaints(&format!("data[{key}]"), key, names::config_key(key));
        size += data_size(true, value);
    }
    if size > MAX_DATA {
        report.add(FieldError::too_long("data", MAX_DATA));
    }
    let kind = meta::text(object, &["type"]);
    if kind == "kubernetes.io/service-account-token"
        && meta::annotation(object, "kubernetes.io/service-account.name").unwrap_or_default().is_empty()
    {
        report.required("metadata.annotations[kubernetes.io/service-account.name]", "");
    }
    if kind == "kubernetes.io/basic-auth"
        && object["data"]["username"].is_null()
        && object["data"]["password"].is_null()
    {
        report.required("data[username]", "");
        report.required("data[password]", "");
    }
    for (_, keys) in NEEDED_KEYS.iter().filter(|(one, _)| *one == kind) {
        for key in *keys {
            if object["data"][*key].is_null() {
                report.required(format!("data[{key}]"), "");
            }
        }
    }
}

/// The keys that a type of Secret cannot do without.
const NEEDED_KEYS: [(&str, &[&str]); 4] = [
    ("kubernetes.io/dockercfg", &[".dockercfg"]),
    ("kubernetes.io/dockerconfigjson", &[".dockerconfigjson"]),
    ("kubernetes.io/ssh-auth", &["ssh-privatekey"]),
    ("kubernetes.io/tls", &["tls.crt", "tls.key"]),
];

pub(super) fn secret_change(new: &Value, old: &Value, report: &mut Report) {
    if new["type"] != old["type"] {
        report.invalid("type", &new["type"], IMMUTABLE);
    }
    kept_when_immutable(new, old, &["data"], report);
}

fn kept_when_immutable(new: &Value, old: &Value, fields: &[&str], report: &mut Report) {
    if old["immutable"] != true {
        return;
    }
    for field in std::iter::once(&"immutable").chain(fields) {
        if new[*field] != old[*field] {
            report.forbidden(*field, IMMUTABLE_SET);
        }
    }
}

/// The size of a value in bytes; base64 has four characters for three bytes.
fn data_size(base64: bool, value: &Value) -> usize {
    let text = value.as_str().unwrap_or_default();
    if base64 { text.trim_end_matches('=').len() * 3 / 4 } else { text.len() }
}
