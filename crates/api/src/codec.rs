//! From request bodies to objects and back.

mod conform;
mod protobuf;
mod scalar;
mod text;

use serde_json::{Map, Value};

use crate::schema::{Kind, Schema};
use crate::status::Status;

/// The form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
    /// `application/vnd.kubernetes.protobuf`
    Protobuf,
}

impl Media {
    /// The media type names, as error texts list them.
    pub const NAMES: [&'static str; 3] =
        ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

    /// Reads a `Content-Type`; parameters are ignored. Absent (empty) means JSON.
    #[must_use]
    pub fn parse(content_type: &str) -> Option<Media> {
        let name = content_type.split(';').next().unwrap_or_default().trim();
        match name.to_ascii_lowercase().as_str() {
            "" | "application/json" => Some(Media::Json),
            "application/yaml" => Some(Media::Yaml),
            "application/vnd.kubernetes.protobuf" => Some(Media::Protobuf),
            _ => None,
        }
    }
}

/// What to do about unknown and duplicate fields (query parameter `fieldValidation`, KEP-2885).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them.
    Ignore,
    /// Drop them and tell.
    #[default]
    Warn,
    /// Refuse them.
    Strict,
}

impl FieldValidation {
    /// Reads the query parameter; absent (empty) means [`FieldValidation::Warn`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "Ignore" => Some(Self::Ignore),
            "" | "Warn" => Some(Self::Warn),
            "Strict" => Some(Self::Strict),
            _ => None,
        }
    }
}

/// A decoded object.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The object: known fields only, no nulls, canonical scalars, `apiVersion` and `kind` set.
    pub object: Value,
    /// What the client should be told in `Warning` headers.
    pub warnings: Vec<String>,
}

/// Decodes a body that must be an object of `expected`. A missing `apiVersion` or `kind` is filled in.
///
/// # Errors
/// 400 in upstream's words: malformed text, another kind or version, values of wrong types and, when
/// strict, unknown and duplicate fields.
pub fn decode(
    schema: &Schema,
    expected: &Kind,
    media: Media,
    body: &[u8],
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let unrecognized = |problem: String| {
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; {problem} ({})",
            expected.kind,
            summary(body)
        ))
    };
    let parsed = match media {
        Media::Json => text::json(body),
        Media::Yaml => text::yaml(body),
        Media::Protobuf => protobuf::decode(schema, expected, body),
    };
    let parsed = parsed.map_err(unrecognized)?;
    let Value::Object(object) = parsed.value else {
        return Err(unrecognized(format!("{} is not an object", scalar::type_name(&parsed.value))));
    };
    finish(schema, expected, object, &parsed.duplicates, validation)
}

/// Checks a value that was not decoded from a body, such as the result of a patch, by the same rules.
///
/// # Errors
/// Those of [`decode`].
pub fn conform(
    schema: &Schema,
    expected: &Kind,
    object: Value,
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    match object {
        Value::Object(object) => finish(schema, expected, object, &[], validation),
        other => Err(cannot_handle(
            expected,
            &expected.kind,
            &expected.version,
            &format!(
                "json: cannot unmarshal {} into Go value of type v1.{}",
                scalar::type_name(&other),
                expected.kind
            ),
        )),
    }
}

/// The object in protobuf, in Kubernetes' envelope: the bytes that Go's encoder writes.
#[must_use]
pub fn encode_protobuf(schema: &Schema, kind: &Kind, object: &Value) -> Vec<u8> {
    protobuf::encode(schema, kind, object)
}

fn finish(
    schema: &Schema,
    expected: &Kind,
    mut object: Map<String, Value>,
    duplicates: &[String],
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    match_kind(schema, expected, &mut object)?;
    let findings = conform::conform(schema, expected.message, &mut object);
    if let Some(error) = findings.error {
        return Err(cannot_handle(expected, &expected.kind, &expected.version, &error));
    }
    let unknown = findings.unknown.iter().map(|path| format!("unknown field {path:?}"));
    let mut warnings: Vec<String> = unknown.collect();
    warnings.extend(duplicates.iter().map(|path| format!("duplicate field {path:?}")));
    match validation {
        FieldValidation::Ignore => warnings.clear(),
        FieldValidation::Strict if !warnings.is_empty() => {
            let text = format!("strict decoding error: {}", warnings.join(", "));
            return Err(cannot_handle(expected, &expected.kind, &expected.version, &text));
        }
        FieldValidation::Warn | FieldValidation::Strict => {}
    }
    Ok(Decoded { object: Value::Object(object), warnings })
}

/// Compares `apiVersion` and `kind` with what the request's path demands, and fills them in.
fn match_kind(schema: &Schema, expected: &Kind, object: &mut Map<String, Value>) -> Result<(), Status> {
    let wanted = expected.api_version();
    let mut take = |key: &str| match object.remove(key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(Status::bad_request(format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go struct field .{key} of type string",
            scalar::type_name(&other)
        ))),
    };
    let (api_version, kind) = (take("apiVersion")?, take("kind")?);
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    // Options are of meta.k8s.io, and every group takes them as its own.
    let own_options = expected.group == "meta.k8s.io";
    if !api_version.is_empty() && api_version != wanted && !own_options {
        return Err(Status::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({wanted})"
        )));
    }
    if !kind.is_empty() && kind != expected.kind {
        let known = schema.kind(group, version, &kind).is_some();
        let problem = if known {
            format!("converting (v1.{kind}) to (v1.{}): unknown conversion", expected.kind)
        } else {
            format!("no kind {kind:?} is registered for version {api_version:?}")
        };
        return Err(cannot_handle(expected, &kind, version, &problem));
    }
    object.insert("apiVersion".to_owned(), Value::String(wanted));
    object.insert("kind".to_owned(), Value::String(expected.kind.clone()));
    Ok(())
}

fn cannot_handle(expected: &Kind, kind: &str, version: &str, problem: &str) -> Status {
    let as_kind = &expected.kind;
    Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {as_kind}: {problem}"))
}

/// The beginning of a body, as text when it looks like JSON, else in hexadecimal.
fn summary(body: &[u8]) -> String {
    const SHOWN: usize = 30;
    let shown = &body[..body.len().min(SHOWN)];
    let mut text = match (body.first(), std::str::from_utf8(shown)) {
        (None, _) => "<empty>".to_owned(),
        (Some(b'{'), Ok(text)) => text.to_owned(),
        _ => shown.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    if body.len() > SHOWN {
        text.push_str(" ...");
    }
    text
}

#[cfg(test)]
mod tests;
