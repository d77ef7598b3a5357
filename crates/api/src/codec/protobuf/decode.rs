//! Messages to JSON objects, by the schema table. Unknown field numbers are skipped.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::wire::{Payload, Reader};
use crate::codec::scalar;
use crate::codec::text::MAX_DEPTH;
use crate::schema::{Field, MessageId, Schema, Shape, Type};

/// The fields of a message.
pub(super) fn message(schema: &Schema, id: MessageId, bytes: &[u8]) -> Result<Map<String, Value>, String> {
    let mut object = Map::new();
    Decoder { schema }.message(id, bytes, 0, &mut object)?;
    Ok(object)
}

struct Decoder<'s> {
    schema: &'s Schema,
}

impl Decoder<'_> {
    fn message(
        &self,
        id: MessageId,
        bytes: &[u8],
        depth: usize,
        into: &mut Map<String, Value>,
    ) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("exceeded max depth of {MAX_DEPTH}"));
        }
        let message = self.schema.message(id);
        let mut reader = Reader::new(bytes);
        while let Some((tag, payload)) = reader.next()? {
            let Some(field) = message.by_tag(tag) else { continue };
            if let (true, Type::Message(inner), Payload::Bytes(bytes)) = (field.inline(), field.ty, payload) {
                self.message(inner, bytes, depth + 1, into)?;
                continue;
            }
            match field.shape {
                Shape::One => {
                    into.insert(field.name.clone(), self.value(field, payload, depth)?);
                }
                Shape::List => {
                    let list = into.entry(&field.name).or_insert_with(|| Value::Array(Vec::new()));
                    if let Value::Array(list) = list {
                        self.elements(field, payload, depth, list)?;
                    }
                }
                Shape::Map => {
                    let Payload::Bytes(bytes) = payload else { return Err(wrong(field)) };
                    let (key, value) = self.entry(field, bytes, depth)?;
                    let map = into.entry(&field.name).or_insert_with(|| Value::Object(Map::new()));
                    if let Value::Object(map) = map {
                        map.insert(key, value);
                    }
                }
            }
        }
        Ok(())
    }

    /// One element, or a packed list of numbers.
    fn elements(
        &self,
        field: &Field,
        payload: Payload<'_>,
        depth: usize,
        list: &mut Vec<Value>,
    ) -> Result<(), String> {
        match (field.ty, payload) {
            (Type::Int32 | Type::Int64 | Type::Bool, Payload::Bytes(bytes)) => {
                let mut reader = Reader::new(bytes);
                while let Some(number) = reader.next_packed()? {
                    list.push(self.value(field, Payload::Varint(number), depth)?);
                }
            }
            _ => list.push(self.value(field, payload, depth)?),
        }
        Ok(())
    }

    /// A map entry is a message of key 1 and value 2, both optional.
    fn entry(&self, field: &Field, bytes: &[u8], depth: usize) -> Result<(String, Value), String> {
        let (mut key, mut value) = (String::new(), scalar::zero(field.ty));
        let mut reader = Reader::new(bytes);
        while let Some((tag, payload)) = reader.next()? {
            match (tag, payload) {
                (1, Payload::Bytes(bytes)) => key = text(bytes)?,
                (2, payload) => value = self.value(field, payload, depth)?,
                _ => {}
            }
        }
        Ok((key, value))
    }

    fn value(&self, field: &Field, payload: Payload<'_>, depth: usize) -> Result<Value, String> {
        Ok(match (field.ty, payload) {
            (Type::String, Payload::Bytes(bytes)) => Value::String(text(bytes)?),
            (Type::Bytes, Payload::Bytes(bytes)) => Value::String(STANDARD.encode(bytes)),
            (Type::Bool, Payload::Varint(number)) => Value::Bool(number != 0),
            // Negative 32-bit numbers travel sign-extended; the low half is the number.
            (Type::Int32, Payload::Varint(number)) => Value::from(number as i32),
            (Type::Int64, Payload::Varint(number)) => Value::from(number as i64),
            (Type::Double, Payload::Fixed64(bits)) => {
                Number::from_f64(f64::from_bits(bits)).map_or(Value::Null, Value::Number)
            }
            (Type::Message(inner), Payload::Bytes(bytes)) => {
                let mut object = Map::new();
                self.message(inner, bytes, depth + 1, &mut object)?;
                Value::Object(object)
            }
            (ty, Payload::Bytes(bytes)) => special(ty, bytes)?.ok_or_else(|| wrong(field))?,
            _ => return Err(wrong(field)),
        })
    }
}

/// The messages whose JSON form is no object of their fields; `None` for other types.
fn special(ty: Type, bytes: &[u8]) -> Result<Option<Value>, String> {
    let (mut numbers, mut texts): ([u64; 4], [&[u8]; 4]) = ([0; 4], [&[]; 4]);
    let mut strings = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some((tag, payload)) = reader.next()? {
        let slot = tag as usize % 4;
        match payload {
            Payload::Varint(number) if tag < 4 => numbers[slot] = number,
            Payload::Bytes(bytes) if tag < 4 => {
                texts[slot] = bytes;
                strings.push(bytes);
            }
            _ => {}
        }
    }
    Ok(Some(match ty {
        Type::Quantity => Value::String(match texts[1] {
            b"" => "0".to_owned(),
            bytes => text(bytes)?,
        }),
        Type::IntOrString if numbers[1] == 0 => Value::from(numbers[2] as i32),
        Type::IntOrString => Value::String(text(texts[3])?),
        Type::Time | Type::MicroTime if bytes.is_empty() => Value::Null,
        Type::Time | Type::MicroTime => {
            let time = Timestamp::new(numbers[1] as i64, numbers[2] as i32)
                .map_err(|_| "a time is out of range".to_owned())?;
            Value::String(scalar::format_time(ty, time))
        }
        Type::Duration => Value::String(scalar::format_duration(numbers[1] as i64)),
        Type::Raw | Type::Fields if texts[1].is_empty() => Value::Null,
        Type::Raw | Type::Fields => {
            serde_json::from_slice(texts[1]).map_err(|error| format!("embedded JSON: {error}"))?
        }
        Type::Strings => {
            let strings: Result<Vec<Value>, String> =
                strings.into_iter().map(|bytes| text(bytes).map(Value::String)).collect();
            Value::Array(strings?)
        }
        _ => return Ok(None),
    }))
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a text is not UTF-8".to_owned())
}

fn wrong(field: &Field) -> String {
    format!("field {} ({}) has a payload of the wrong wire type", field.tag, field.name)
}
