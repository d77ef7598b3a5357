//! What `kubectl get` prints.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::meta;
use crate::schema::Kind;

/// The column definitions of a kind's table.
#[must_use]
pub fn columns(_kind: &Kind) -> Vec<Value> {
    vec![json!({"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0})]
}

/// The cells of one object.
#[must_use]
pub fn row(_kind: &Kind, object: &Value, _now: Timestamp) -> Vec<Value> {
    vec![json!(meta::name(object))]
}
