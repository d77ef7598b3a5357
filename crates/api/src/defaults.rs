//! Upstream's defaults.

use serde_json::Value;

use crate::schema::{Kind, Schema};

/// Fills in what the client left out.
pub fn apply(_schema: &Schema, _kind: &Kind, _object: &mut Value) {}
