//! Rules of a pod's volumes.

use std::collections::HashSet;

use serde_json::Value;

use crate::field::FieldError;
use crate::meta;
use crate::quantity::Quantity;
use crate::validate::names;
use crate::validate::report::Report;

/// Sources that name another object: the source's field and the name's field in it.
const NAMED_SOURCES: [(&str, &str); 3] =
    [("secret", "secretName"), ("configMap", "name"), ("persistentVolumeClaim", "claimName")];

/// Checks the volumes and returns their names.
pub(super) fn volumes<'a>(path: &str, spec: &'a Value, report: &mut Report) -> HashSet<&'a str> {
    let mut seen: HashSet<&str> = HashSet::new();
    for (at, volume) in meta::list(spec, &["volumes"]).iter().enumerate() {
        let path = format!("{path}.volumes[{at}]");
        let name = meta::text(volume, &["name"]);
        if name.is_empty() {
            report.required(format!("{path}.name"), "");
        } else {
            report.complaints(&format!("{path}.name"), name, names::dns1123_label(name));
            if seen.contains(name) {
                report.add(FieldError::duplicate(format!("{path}.name"), name));
            }
        }
        seen.insert(name);
        let mut sources =
            volume.as_object().into_iter().flatten().map(|(key, _)| key).filter(|key| *key != "name");
        if sources.next().is_none() {
            report.required(&path, "must specify a volume type");
        }
        for further in sources {
            report.forbidden(format!("{path}.{further}"), "may not specify more than 1 volume type");
        }
        source(&path, volume, report);
    }
    seen
}

fn source(path: &str, volume: &Value, report: &mut Report) {
    for (field, name) in NAMED_SOURCES {
        if !volume[field].is_null() && meta::text(&volume[field], &[name]).is_empty() {
            report.required(format!("{path}.{field}.{name}"), "");
        }
    }
    let host = &volume["hostPath"];
    if !host.is_null() {
        let directory = meta::text(host, &["path"]);
        if directory.is_empty() {
            report.required(format!("{path}.hostPath.path"), "");
        } else if directory.split('/').any(|part| part == "..") {
            report.invalid(format!("{path}.hostPath.path"), &host["path"], "must not contain '..'");
        }
    }
    let size = &volume["emptyDir"]["sizeLimit"];
    if size.as_str().and_then(Quantity::parse).is_some_and(|size| size.is_negative()) {
        report.forbidden(
            format!("{path}.emptyDir.sizeLimit"),
            "SizeLimit field must be a valid resource quantity",
        );
    }
    for field in ["secret", "configMap", "downwardAPI", "projected"] {
        files(&format!("{path}.{field}"), &volume[field], report);
    }
    for (at, part) in meta::list(&volume["projected"], &["sources"]).iter().enumerate() {
        for field in ["secret", "configMap", "downwardAPI"] {
            files(&format!("{path}.projected.sources[{at}].{field}"), &part[field], report);
        }
    }
}

/// The files of a source: where each is, and who may read it.
fn files(path: &str, source: &Value, report: &mut Report) {
    mode(format!("{path}.defaultMode"), &source["defaultMode"], report);
    for (at, item) in meta::list(source, &["items"]).iter().enumerate() {
        let path = format!("{path}.items[{at}]");
        if !path.contains(".downwardAPI.") && meta::text(item, &["key"]).is_empty() {
            report.required(format!("{path}.key"), "");
        }
        mode(format!("{path}.mode"), &item["mode"], report);
        let target = meta::text(item, &["path"]);
        let path = format!("{path}.path");
        if target.is_empty() {
            report.required(path, "");
        } else if target.starts_with('/') {
            report.invalid(path, &item["path"], "must be a relative path");
        } else if target.split('/').any(|part| part == "..") {
            report.invalid(path, &item["path"], "must not contain '..'");
        } else if target.starts_with("..") {
            // What begins so is the volume's own.
            report.invalid(path, &item["path"], "must not start with '..'");
        }
    }
}

fn mode(path: String, mode: &Value, report: &mut Report) {
    if mode.as_i64().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        report.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}
