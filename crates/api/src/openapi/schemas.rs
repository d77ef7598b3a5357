//! The schemas of a document: every message that its kinds reach.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::identity;
use crate::schema::{Field, Kind, Message, MessageId, Schema, Shape, Type};

const DELETE_OPTIONS: &str = "meta/v1.DeleteOptions";
const LIST_META: &str = "meta/v1.ListMeta";
const STATUS: &str = "meta/v1.Status";

/// The types with a JSON form of their own: name, schema.
fn special(ty: Type) -> Option<(&'static str, Value)> {
    Some(match ty {
        Type::Time => {
            ("io.k8s.apimachinery.pkg.apis.meta.v1.Time", json!({"type": "string", "format": "date-time"}))
        }
        Type::MicroTime => (
            "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
            json!({"type": "string", "format": "date-time"}),
        ),
        Type::Duration => ("io.k8s.apimachinery.pkg.apis.meta.v1.Duration", json!({"type": "string"})),
        Type::Quantity => (
            "io.k8s.apimachinery.pkg.api.resource.Quantity",
            json!({"description": "An amount, such as 500m or 1Gi.", "oneOf": [{"type": "string"}, {"type": "number"}]}),
        ),
        Type::IntOrString => (
            "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
            json!({"description": "A number or a text.", "format": "int-or-string",
                   "oneOf": [{"type": "integer"}, {"type": "string"}]}),
        ),
        Type::Raw => ("io.k8s.apimachinery.pkg.runtime.RawExtension", json!({"type": "object"})),
        Type::Fields => ("io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", json!({"type": "object"})),
        _ => return None,
    })
}

/// The name of a message's schema: `io.k8s.api.core.v1.Service`.
fn schema_name(message: &Message) -> String {
    let dotted = message.name.replace('/', ".");
    if dotted.starts_with("meta.") {
        format!("io.k8s.apimachinery.pkg.apis.{dotted}")
    } else {
        format!("io.k8s.api.{dotted}")
    }
}

/// A reference to a message's schema.
pub(super) fn reference(schema: &Schema, message: MessageId) -> Value {
    json!({"$ref": format!("#/components/schemas/{}", schema_name(schema.message(message)))})
}

/// A reference to the schema of a kind's list.
pub(super) fn list_reference(schema: &Schema, kind: &Kind) -> Value {
    json!({"$ref": format!("#/components/schemas/{}List", schema_name(schema.message(kind.message)))})
}

/// A reference to the schema of Status objects.
pub(super) fn status_reference(schema: &Schema) -> Option<Value> {
    Some(reference(schema, schema.message_named(STATUS)?))
}

pub(super) fn schemas(schema: &Schema, kinds: &[&Kind]) -> Map<String, Value> {
    let mut schemas = Map::new();
    let mut wanted: Vec<MessageId> = kinds.iter().map(|kind| kind.message).collect();
    if kinds.iter().any(|kind| kind.scale) {
        wanted.extend(schema.message_named("autoscaling/v1.Scale"));
    }
    wanted.extend([DELETE_OPTIONS, LIST_META, STATUS].iter().filter_map(|name| schema.message_named(name)));
    let mut seen: BTreeSet<MessageId> = BTreeSet::new();
    while let Some(message) = wanted.pop() {
        if !seen.insert(message) {
            continue;
        }
        for field in schema.fields(message) {
            match field.ty {
                Type::Message(inner) => wanted.push(inner),
                ty => {
                    if let Some((name, description)) = special(ty) {
                        schemas.insert(name.to_owned(), description);
                    }
                }
            }
        }
        schemas.insert(schema_name(schema.message(message)), structure(schema, message));
    }
    for kind in kinds {
        let name = schema_name(schema.message(kind.message));
        if let Some(own) = schemas.get_mut(&name) {
            own["x-kubernetes-group-version-kind"] = json!([identity(kind, &kind.kind)]);
        }
        if kind.stored {
            schemas.insert(format!("{name}List"), list(schema, kind));
        }
    }
    if let Some(options) = schema.message_named(DELETE_OPTIONS)
        && let Some(own) = schemas.get_mut(&schema_name(schema.message(options)))
        && let Some(kind) = kinds.first()
    {
        own["x-kubernetes-group-version-kind"] = json!([identity(kind, "DeleteOptions")]);
    }
    schemas
}

fn structure(schema: &Schema, id: MessageId) -> Value {
    let message = schema.message(id);
    let mut properties = Map::new();
    if message.object {
        type_meta(&mut properties);
    }
    for field in schema.fields(id) {
        properties.insert(field.name.clone(), property(schema, field));
    }
    let required: Vec<&str> =
        schema.fields(id).filter(|field| field.required).map(|field| field.name.as_str()).collect();
    let mut own = json!({"type": "object", "properties": properties});
    if !message.description.is_empty() {
        own["description"] = json!(message.description);
    }
    if !required.is_empty() {
        own["required"] = json!(required);
    }
    own
}

fn type_meta(properties: &mut Map<String, Value>) {
    let text = |description: &str| json!({"type": "string", "description": description});
    properties.insert(
        "apiVersion".to_owned(),
        text("The group and version of the object's form, such as v1 or apps/v1."),
    );
    properties.insert("kind".to_owned(), text("What the object is, such as Service."));
}

fn property(schema: &Schema, field: &Field) -> Value {
    let one = value(schema, field.ty);
    let mut own = match field.shape {
        Shape::List => json!({"type": "array", "items": one}),
        Shape::Map => json!({"type": "object", "additionalProperties": one}),
        // A reference stands alone; what is said beside it needs allOf.
        Shape::One if one.get("$ref").is_some() => json!({"allOf": [one]}),
        Shape::One => one,
    };
    let texts = [
        ("description", Some(field.description.as_str()).filter(|text| !text.is_empty())),
        ("x-kubernetes-patch-merge-key", field.merge_key.as_deref()),
        ("x-kubernetes-list-type", field.list_type.map(crate::schema::ListType::as_str)),
        ("x-kubernetes-map-type", field.atomic.then_some("atomic")),
        (
            "x-kubernetes-patch-strategy",
            match (field.patch_merge, field.retain_keys) {
                (true, true) => Some("merge,retainKeys"),
                (true, false) => Some("merge"),
                (false, true) => Some("retainKeys"),
                (false, false) => None,
            },
        ),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            own[key] = json!(text);
        }
    }
    if !field.list_keys.is_empty() {
        own["x-kubernetes-list-map-keys"] = json!(field.list_keys);
    }
    if let Some(default) = &field.default {
        own["default"] = default.clone();
    }
    own
}

fn value(schema: &Schema, ty: Type) -> Value {
    if let Some((name, _)) = special(ty) {
        return json!({"$ref": format!("#/components/schemas/{name}")});
    }
    match ty {
        Type::Message(id) => reference(schema, id),
        Type::Bytes => json!({"type": "string", "format": "byte"}),
        Type::Bool => json!({"type": "boolean"}),
        Type::Int32 => json!({"type": "integer", "format": "int32"}),
        Type::Int64 => json!({"type": "integer", "format": "int64"}),
        Type::Double => json!({"type": "number", "format": "double"}),
        Type::Strings => json!({"type": "array", "items": {"type": "string"}}),
        _ => json!({"type": "string"}),
    }
}

fn list(schema: &Schema, kind: &Kind) -> Value {
    let mut properties = Map::new();
    type_meta(&mut properties);
    if let Some(metadata) = schema.message_named(LIST_META) {
        properties.insert("metadata".to_owned(), json!({"allOf": [reference(schema, metadata)]}));
    }
    let items = json!({"type": "array", "items": reference(schema, kind.message)});
    properties.insert("items".to_owned(), items);
    json!({
        "type": "object",
        "description": format!("A list of {} objects.", kind.kind),
        "properties": properties,
        "required": ["items"],
        "x-kubernetes-group-version-kind": [identity(kind, &kind.list_kind)],
    })
}
