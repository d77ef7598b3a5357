//! JSON objects to messages, by the schema table, byte for byte as Go's encoder writes them: fields in
//! ascending order, map entries sorted by key, zero values of fields that are no pointers included.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::wire::Writer;
use crate::codec::scalar;
use crate::schema::{Field, MessageId, Presence, Schema, Shape, Type};

/// A message of the object's fields; values that do not fit the schema are left out.
pub(super) fn message(schema: &Schema, id: MessageId, object: &Value) -> Vec<u8> {
    let mut writer = Writer::default();
    for field in &schema.message(id).fields {
        if let (true, Type::Message(inner)) = (field.inline(), field.ty) {
            writer.bytes(field.tag, &message(schema, inner, object));
            continue;
        }
        match (field.shape, object.get(&field.name)) {
            (Shape::One, Some(found)) if !found.is_null() => {
                value(schema, field, field.tag, found, &mut writer);
            }
            (Shape::One, _) if field.presence != Presence::Pointer => zero(schema, field, &mut writer),
            (Shape::List, Some(Value::Array(elements))) => {
                for element in elements {
                    value(schema, field, field.tag, element, &mut writer);
                }
            }
            (Shape::Map, Some(Value::Object(entries))) => {
                for (key, found) in entries {
                    let mut entry = Writer::default();
                    entry.bytes(1, key.as_bytes());
                    value(schema, field, 2, found, &mut entry);
                    writer.bytes(field.tag, &entry.into_bytes());
                }
            }
            _ => {}
        }
    }
    writer.into_bytes()
}

/// What an unset field that is no pointer sends.
fn zero(schema: &Schema, field: &Field, writer: &mut Writer) {
    match field.ty {
        Type::Time | Type::MicroTime | Type::Raw => writer.bytes(field.tag, b""),
        Type::Bytes | Type::Strings | Type::Fields => {}
        ty => value(schema, field, field.tag, &scalar::zero(ty), writer),
    }
}

fn value(schema: &Schema, field: &Field, tag: u32, found: &Value, writer: &mut Writer) {
    match (field.ty, found) {
        (Type::Bool, found) => writer.varint(tag, u64::from(found == &Value::Bool(true))),
        // Two's complement, sign-extended to 64 bits.
        (Type::Int32 | Type::Int64, found) => writer.varint(tag, found.as_i64().unwrap_or(0) as u64),
        (Type::Double, found) => writer.fixed64(tag, found.as_f64().unwrap_or(0.0).to_bits()),
        (Type::String, found) => writer.bytes(tag, found.as_str().unwrap_or_default().as_bytes()),
        (Type::Bytes, found) => {
            let decoded = STANDARD.decode(found.as_str().unwrap_or_default()).unwrap_or_default();
            writer.bytes(tag, &decoded);
        }
        (Type::Message(inner), found) => writer.bytes(tag, &message(schema, inner, found)),
        (ty, found) => writer.bytes(tag, &special(ty, found)),
    }
}

/// The messages whose JSON form is no object of their fields.
fn special(ty: Type, found: &Value) -> Vec<u8> {
    let mut writer = Writer::default();
    let text = found.as_str();
    match ty {
        Type::Quantity => writer.bytes(1, text.unwrap_or("0").as_bytes()),
        Type::IntOrString => {
            writer.varint(1, u64::from(text.is_some()));
            writer.varint(2, found.as_i64().unwrap_or(0) as u64);
            writer.bytes(3, text.unwrap_or_default().as_bytes());
        }
        Type::Time | Type::MicroTime => {
            if let Some(time) = text.and_then(scalar::parse_time) {
                // Seconds are rounded down, so that nanoseconds are never negative.
                let nanos = time.as_nanosecond();
                writer.varint(1, nanos.div_euclid(1_000_000_000) as u64);
                let nanos = if ty == Type::Time { 0 } else { nanos.rem_euclid(1_000_000_000) };
                writer.varint(2, nanos as u64);
            }
        }
        Type::Duration => writer.varint(1, text.and_then(scalar::parse_duration).unwrap_or(0) as u64),
        Type::Raw | Type::Fields => writer.bytes(1, found.to_string().as_bytes()),
        Type::Strings => {
            for one in found.as_array().into_iter().flatten() {
                writer.bytes(1, one.as_str().unwrap_or_default().as_bytes());
            }
        }
        _ => {}
    }
    writer.into_bytes()
}
