//! OpenAPI v3 documents, as `kubectl apply`, `explain` and typed clients read them.
//!
//! kubectl's validation needs, in the document of a group version, a schema with
//! `x-kubernetes-group-version-kind` and a `patch` operation of that kind with a `fieldValidation` query
//! parameter; it then leaves validation to the server.

mod paths;
mod schemas;

use serde_json::{Map, Value, json};

use crate::schema::{Kind, Schema};

/// The index of documents, `/openapi/v3`. Each address carries a hash of its document, so that clients
/// may keep the document for as long as the address is the same.
#[must_use]
pub fn index(schema: &Schema) -> Value {
    let mut paths = Map::new();
    for (group, version) in group_versions(schema) {
        let Some(document) = document(schema, group, version) else { continue };
        let place = root(group, version);
        let hash = hash(document.to_string().as_bytes());
        let url = format!("/openapi/v3{place}?hash={hash:016X}");
        paths.insert(place.trim_start_matches('/').to_owned(), json!({"serverRelativeURL": url}));
    }
    json!({ "paths": paths })
}

/// The document of one group version; `None` when nothing is served there.
#[must_use]
pub fn document(schema: &Schema, group: &str, version: &str) -> Option<Value> {
    let kinds: Vec<&Kind> =
        served(schema).filter(|kind| kind.group == group && kind.version == version).collect();
    if kinds.is_empty() {
        return None;
    }
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Portolan", "version": "v1"},
        "paths": paths::paths(schema, &kinds),
        "components": {"schemas": schemas::schemas(schema, &kinds)},
    }))
}

fn served(schema: &Schema) -> impl Iterator<Item = &Kind> {
    schema.kinds().iter().filter(|kind| kind.served)
}

fn group_versions(schema: &Schema) -> Vec<(&str, &str)> {
    let mut all: Vec<(&str, &str)> = Vec::new();
    for kind in served(schema) {
        let one = (kind.group.as_str(), kind.version.as_str());
        if !all.contains(&one) {
            all.push(one);
        }
    }
    all
}

/// Where a group version is served.
fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// The group, version and kind of a schema or operation.
fn identity(kind: &Kind, name: &str) -> Value {
    json!({"group": kind.group, "version": kind.version, "kind": name})
}

/// FNV-1a: tells documents apart, no more.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests;
