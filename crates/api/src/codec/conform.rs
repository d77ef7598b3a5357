//! Holding a value against the schema: types, unknown fields, canonical scalars.

use serde_json::{Map, Value};

use super::scalar;
use crate::schema::{Field, MessageId, Presence, Schema, Shape, Type};

/// Unknown fields beyond this number are not listed, only dropped.
const MAX_UNKNOWN: usize = 100;

/// What was found in a value besides its known fields.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Paths of unknown fields.
    pub(super) unknown: Vec<String>,
    /// The first value of a wrong type, in the words of Go's decoder.
    pub(super) error: Option<String>,
}

/// Makes `object` one of `message`: unknown fields and nulls go, scalars become canonical, fields that
/// Go would not send at their zero value go.
pub(super) fn conform(schema: &Schema, message: MessageId, object: &mut Map<String, Value>) -> Findings {
    let mut walk = Walk { schema, path: Vec::new(), findings: Findings::default() };
    walk.object(message, object);
    walk.findings
}

struct Walk<'s> {
    schema: &'s Schema,
    path: Vec<Segment<'s>>,
    findings: Findings,
}

#[derive(Clone, Copy)]
enum Segment<'s> {
    Field(&'s str),
    Index(usize),
}

/// Where a value is, as Go's decoder tells: the innermost structure, and the value's Go type.
#[derive(Clone, Copy)]
struct Place<'s> {
    message: MessageId,
    field: &'s Field,
    shape: Shape,
}

impl<'s> Walk<'s> {
    fn object(&mut self, message: MessageId, object: &mut Map<String, Value>) {
        let schema = self.schema;
        let is_object = schema.message(message).object;
        object.retain(|key, value| {
            let Some(field) = schema.field(message, key) else {
                if is_object && (key == "apiVersion" || key == "kind") {
                    return value.is_string();
                }
                self.unknown(key);
                return false;
            };
            if value.is_null() {
                return false;
            }
            self.path.push(Segment::Field(&field.name));
            self.field(message, field, value);
            self.path.pop();
            !omitted(field, value)
        });
    }

    fn field(&mut self, message: MessageId, field: &'s Field, value: &mut Value) {
        let place = Place { message, field, shape: field.shape };
        match (field.shape, value) {
            (Shape::One, value) => self.one(place, value),
            (Shape::List, Value::Array(elements)) => {
                for (at, element) in elements.iter_mut().enumerate() {
                    self.path.push(Segment::Index(at));
                    self.element(place, element);
                    self.path.pop();
                }
            }
            (Shape::Map, Value::Object(entries)) => {
                for entry in entries.values_mut() {
                    self.element(place, entry);
                }
            }
            (_, other) => self.wrong_type(place, other),
        }
    }

    fn element(&mut self, place: Place<'s>, value: &mut Value) {
        if value.is_null() {
            *value = scalar::zero(place.field.ty);
        }
        self.one(Place { shape: Shape::One, ..place }, value);
    }

    fn one(&mut self, place: Place<'s>, value: &mut Value) {
        if let Type::Message(inner) = place.field.ty {
            match value {
                Value::Object(object) => self.object(inner, object),
                other => self.wrong_type(place, other),
            }
            return;
        }
        match scalar::canonical(place.field.ty, value) {
            Ok(()) => {}
            Err(scalar::Mismatch::Type) => self.wrong_type(place, value),
            Err(scalar::Mismatch::Text(text)) => self.error(text),
        }
    }

    fn unknown(&mut self, key: &str) {
        if self.findings.unknown.len() < MAX_UNKNOWN {
            let mut path = self.render(true);
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(key);
            self.findings.unknown.push(path);
        }
    }

    fn wrong_type(&mut self, place: Place<'s>, value: &Value) {
        if self.findings.error.is_none() {
            let found = scalar::describe(place.field.ty, value);
            let holder = self.schema.message(place.message).type_name();
            let expected = go_type(self.schema, place.field.ty, place.shape);
            let path = self.render(false);
            self.error(format!(
                "json: cannot unmarshal {found} into Go struct field {holder}.{path} of type {expected}"
            ));
        }
    }

    fn error(&mut self, text: String) {
        self.findings.error.get_or_insert(text);
    }

    fn render(&self, with_indices: bool) -> String {
        let mut text = String::new();
        for segment in &self.path {
            match segment {
                Segment::Field(name) => {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push_str(name);
                }
                Segment::Index(at) if with_indices => text.push_str(&format!("[{at}]")),
                Segment::Index(_) => {}
            }
        }
        text
    }
}

/// Whether Go leaves the field out of JSON at this value.
fn omitted(field: &Field, value: &Value) -> bool {
    if !matches!(field.presence, Presence::OmitEmpty | Presence::OmitZero) {
        return value.is_null();
    }
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => field.ty != Type::IntOrString && number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(entries) => field.shape == Shape::Map && entries.is_empty(),
    }
}

fn go_type(schema: &Schema, ty: Type, shape: Shape) -> String {
    let one = match ty {
        Type::Bytes => "[]uint8".to_owned(),
        Type::Bool => "bool".to_owned(),
        Type::Int32 => "int32".to_owned(),
        Type::Int64 => "int64".to_owned(),
        Type::Double => "float64".to_owned(),
        Type::Quantity => "resource.Quantity".to_owned(),
        Type::Time => "v1.Time".to_owned(),
        Type::Strings => "[]string".to_owned(),
        Type::Message(id) => format!("v1.{}", schema.message(id).type_name()),
        _ => "string".to_owned(),
    };
    match shape {
        Shape::One => one,
        Shape::List => format!("[]{one}"),
        Shape::Map => format!("map[string]{one}"),
    }
}
