//! Protobuf there and back, for an object of every kind made from the schema itself.

use serde_json::{Map, json};

use super::*;
use crate::schema::{Field, MessageId, Shape, Type};

/// Structures nest at most this deep in the sample; JSONSchema-like recursion ends there.
const DEPTH: usize = 9;

/// An object with every field of the message set.
pub(super) fn sample(schema: &Schema, message: MessageId, depth: usize) -> Value {
    let mut object = Map::new();
    for field in schema.fields(message) {
        let value = sample_value(schema, field, depth);
        let value = match field.shape {
            Shape::One => value,
            Shape::List => json!([value.clone(), value]),
            Shape::Map => json!({"key-a": value, "key-b": value}),
        };
        object.insert(field.name.clone(), value);
    }
    Value::Object(object)
}

fn sample_value(schema: &Schema, field: &Field, depth: usize) -> Value {
    match field.ty {
        Type::String => json!(format!("text-{}", field.tag)),
        Type::Bytes => json!("AAH/"),
        Type::Bool => json!(true),
        Type::Int32 => json!(-7),
        Type::Int64 => json!(1_i64 << 40),
        Type::Double => json!(1.5),
        Type::Time => json!("2026-11-21T01:02:03Z"),
        Type::MicroTime => json!("2026-11-21T01:02:03.000004Z"),
        Type::Duration => json!("1m30s"),
        Type::Quantity => json!("1500m"),
        Type::IntOrString if field.tag.is_multiple_of(2) => json!(8080),
        Type::IntOrString => json!("http"),
        Type::Raw | Type::Fields => json!({"f:spec": {"f:ports": {}}}),
        Type::Strings => json!(["a", "b"]),
        Type::Message(_) if depth == 0 => json!({}),
        Type::Message(inner) => sample(schema, inner, depth - 1),
    }
}

#[test]
fn every_field_of_every_kind_survives_protobuf() {
    let schema = Schema::builtin();
    for kind in schema.kinds() {
        let mut object = sample(schema, kind.message, DEPTH);
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        let object = conform(schema, kind, object, FieldValidation::Strict).unwrap().object;
        let bytes = encode_protobuf(schema, kind, &object);
        let back = decode(schema, kind, Media::Protobuf, &bytes, FieldValidation::Strict).unwrap();
        assert_eq!(back.object, object, "{}", kind.kind);
    }
}

#[test]
fn hand_made_objects_survive_protobuf() {
    let schema = Schema::builtin();
    let table = [
        (
            "",
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "labels": {"b": "2", "a": "1"}},
                   "spec": {"ports": [{"port": 80, "targetPort": "http"}, {"port": 81, "targetPort": 8081}],
                            "selector": {"app": "web"}, "internalTrafficPolicy": "Local"},
                   "status": {"loadBalancer": {}}}),
        ),
        (
            "",
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "AAEC"}, "type": "Opaque"}),
        ),
        (
            "coordination.k8s.io",
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "n"},
                   "spec": {"holderIdentity": "n", "leaseDurationSeconds": 40, "renewTime": "2026-01-02T03:04:05.678901Z"}}),
        ),
        (
            "meta.k8s.io",
            json!({"apiVersion": "meta.k8s.io/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
                   "preconditions": {"uid": "u"}, "propagationPolicy": "Foreground"}),
        ),
    ];
    for (group, object) in table {
        let kind = kind(group, object["kind"].as_str().unwrap());
        let bytes = encode_protobuf(schema, kind, &object);
        let back = decode(schema, kind, Media::Protobuf, &bytes, FieldValidation::Strict).unwrap();
        assert_eq!(back.object, object);
    }
}

#[test]
fn another_kind_in_the_envelope_is_named() {
    let schema = Schema::builtin();
    let bytes = encode_protobuf(schema, kind("", "Pod"), &json!({}));
    let error =
        decode(schema, kind("", "Service"), Media::Protobuf, &bytes, FieldValidation::Warn).unwrap_err();
    assert!(error.message.starts_with("Pod in version \"v1\" cannot be handled as a Service"), "{error}");
}
