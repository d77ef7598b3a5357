//! Objects in flight: JSON values with the metadata that the registry itself manages.

use serde_json::{Map, Value};
use store::{Draft, Record};

/// The JSON object at `field` of `value`, made if it is not there.
pub(crate) fn section<'a>(value: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let slot = &mut value[field];
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    match slot {
        Value::Object(map) => map,
        _ => unreachable!("the slot has just been made an object"),
    }
}

/// The object's metadata, to be changed.
pub(crate) fn metadata(value: &mut Value) -> &mut Map<String, Value> {
    section(value, "metadata")
}

/// A string field of the metadata; absent is the empty string, as everywhere in the API.
pub(crate) fn meta_str<'a>(value: &'a Value, field: &str) -> &'a str {
    value["metadata"][field].as_str().unwrap_or_default()
}

/// Whether the object waits for its finalizers or its grace period.
pub(crate) fn is_terminating(value: &Value) -> bool {
    !meta_str(value, "deletionTimestamp").is_empty()
}

/// The strings of a list field of the metadata.
pub(crate) fn meta_list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    value["metadata"][field].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Reads a stored record back.
///
/// Records are written by this program only, so a failure means damage outside of it.
pub(crate) fn read(record: &Record) -> Result<Value, api::status::Status> {
    serde_json::from_slice(&record.value).map_err(|error| damaged(record, &error))
}

/// Reads only the metadata of a stored record back: what most selections look at.
pub(crate) fn read_metadata(record: &Record) -> Result<Value, api::status::Status> {
    #[derive(serde::Deserialize)]
    struct Head {
        metadata: Value,
    }
    let head: Head = serde_json::from_slice(&record.value).map_err(|error| damaged(record, &error))?;
    Ok(serde_json::json!({ "metadata": head.metadata }))
}

fn damaged(record: &Record, error: &serde_json::Error) -> api::status::Status {
    api::status::Status::internal(format!("{} cannot be read back: {error}", record.key))
}

/// The stored form: final JSON with a hole where `metadata.resourceVersion` goes.
pub(crate) fn draft(value: &Value) -> Draft {
    let mut head = Vec::with_capacity(512);
    let mut tail = Vec::with_capacity(512);
    let mut metadata = value["metadata"].clone();
    if let Value::Object(fields) = &mut metadata {
        fields.remove("resourceVersion");
    }
    head.extend_from_slice(b"{");
    let mut out = &mut head;
    let fields = value.as_object().into_iter().flatten().filter(|(name, _)| *name != "metadata");
    let (before, after): (Vec<_>, Vec<_>) = fields.partition(|(name, _)| name.as_str() < "metadata");
    for (name, field) in before {
        write_member(out, name, field);
        out.push(b',');
    }
    out.extend_from_slice(b"\"metadata\":{");
    for (name, field) in metadata.as_object().into_iter().flatten() {
        write_member(out, name, field);
        out.push(b',');
    }
    out.extend_from_slice(b"\"resourceVersion\":\"");
    out = &mut tail;
    out.extend_from_slice(b"\"}");
    for (name, field) in after {
        out.push(b',');
        write_member(out, name, field);
    }
    out.extend_from_slice(b"}");
    Draft::with_hole(head, tail)
}

fn write_member(out: &mut Vec<u8>, name: &str, value: &Value) {
    out.extend_from_slice(Value::from(name).to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(value.to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_stored_form_is_the_final_json() {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"a\"b": "c"}, "zone": 1,
            "metadata": {"name": "x", "resourceVersion": "3"},
        });
        let stored: Value = serde_json::from_slice(&draft(&object).finish(17)).unwrap();
        let mut expected = object;
        expected["metadata"]["resourceVersion"] = json!("17");
        assert_eq!(stored, expected);
    }

    #[test]
    fn an_object_of_metadata_alone_is_stored_as_json() {
        let stored: Value = serde_json::from_slice(&draft(&json!({"metadata": {}})).finish(1)).unwrap();
        assert_eq!(stored, json!({"metadata": {"resourceVersion": "1"}}));
    }
}
