//! The rules that objects must follow.

pub mod names;

use serde_json::Value;

use crate::field::FieldError;
use crate::schema::{Kind, Schema};

/// The rules of `metadata`.
#[must_use]
pub fn object_meta(_kind: &Kind, _object: &Value) -> Vec<FieldError> {
    Vec::new()
}

/// All rules for a new object, those of `metadata` among them.
#[must_use]
pub fn create(_schema: &Schema, kind: &Kind, object: &Value) -> Vec<FieldError> {
    object_meta(kind, object)
}

/// All rules for a changed object, immutability among them.
#[must_use]
pub fn update(_schema: &Schema, kind: &Kind, new: &Value, _old: &Value) -> Vec<FieldError> {
    object_meta(kind, new)
}
