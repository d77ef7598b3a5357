//! Rules of a pod's volumes.

use std::collections::HashSet;

use serde_json::Value;

use crate::field::FieldError;
use crate::meta;
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
    for field in ["secret", "configMap"] {
        for (at, item) in meta::list(&volume[field], &["items"]).iter().enumerate() {
            let path = format!("{path}.{field}.items[{at}]");
            if meta::text(item, &["key"]).is_empty() {
                report.required(format!("{path}.key"), "");
            }
            let target = meta::text(item, &["path"]);
            if target.is_empty() {
                report.required(format!("{path}.path"), "");
            } else if target.starts_with('/') {
                report.invalid(format!("{path}.path"), &item["path"], "must be a relative path");
            } else if target.split('/').any(|part| part == "..") {
                report.invalid(format!("{path}.path"), &item["path"], "must not contain '..'");
            }
        }
    }
}
