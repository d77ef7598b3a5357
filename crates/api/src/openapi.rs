//! OpenAPI v3 documents.

use serde_json::{Value, json};

use crate::schema::Schema;

/// The index of documents, `/openapi/v3`.
#[must_use]
pub fn index(_schema: &Schema) -> Value {
    json!({"paths": {}})
}

/// The document of one group version.
#[must_use]
pub fn document(_schema: &Schema, _group: &str, _version: &str) -> Option<Value> {
    None
}
