//! Kubernetes' protobuf bodies: the envelope around every object.
//!
//! Source: `k8s.io/apimachinery/pkg/runtime/serializer/protobuf` — four magic bytes, then a
//! `runtime.Unknown` message whose `raw` field is the object without `apiVersion` and `kind`.

mod decode;
mod encode;
mod wire;

use serde_json::{Map, Value};

use super::text::Parsed;
use crate::schema::{Kind, Schema};
use wire::{Payload, Reader};

/// `k8s` and a zero byte.
const MAGIC: [u8; 4] = *b"k8s\0";

/// Decodes the object in an envelope. The fields are those of `expected`; `apiVersion` and `kind` are
/// those of the envelope, which the caller compares.
pub(super) fn decode(schema: &Schema, expected: &Kind, body: &[u8]) -> Result<Parsed, String> {
    let Some(envelope) = body.strip_prefix(&MAGIC) else {
        return Err("the body does not have the Kubernetes protobuf prefix 6b 38 73 00; \
             check that the client sends what its Content-Type says"
            .to_owned());
    };
    let (mut type_meta, mut raw): (&[u8], &[u8]) = (&[], &[]);
    let mut reader = Reader::new(envelope);
    while let Some((tag, payload)) = reader.next().map_err(malformed)? {
        match (tag, payload) {
            (1, Payload::Bytes(bytes)) => type_meta = bytes,
            (2, Payload::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let mut head = Map::new();
    let mut reader = Reader::new(type_meta);
    while let Some((tag, payload)) = reader.next().map_err(malformed)? {
        let key = match tag {
            1 => "apiVersion",
            2 => "kind",
            _ => continue,
        };
        if let Payload::Bytes(bytes) = payload {
            let text = std::str::from_utf8(bytes).map_err(|error| malformed(error.to_string()))?;
            head.insert(key.to_owned(), Value::from(text));
        }
    }
    // Another kind's fields are not decoded as this kind's: the mismatch is reported by name.
    if head.get("kind").and_then(Value::as_str).is_none_or(|kind| kind.is_empty() || kind == expected.kind) {
        let mut fields = decode::message(schema, expected.message, raw).map_err(malformed)?;
        head.append(&mut fields);
    }
    Ok(Parsed { value: Value::Object(head), duplicates: Vec::new() })
}

/// Encodes an object of `kind` in its envelope.
pub(super) fn encode(schema: &Schema, kind: &Kind, object: &Value) -> Vec<u8> {
    let mut type_meta = wire::Writer::default();
    type_meta.bytes(1, kind.api_version().as_bytes());
    type_meta.bytes(2, kind.kind.as_bytes());
    let mut envelope = wire::Writer::default();
    envelope.bytes(1, &type_meta.into_bytes());
    envelope.bytes(2, &encode::message(schema, kind.message, object));
    envelope.bytes(3, b"");
    envelope.bytes(4, b"");
    [&MAGIC[..], &envelope.into_bytes()].concat()
}

fn malformed(problem: impl std::fmt::Display) -> String {
    format!("protobuf parse error: {problem}")
}
