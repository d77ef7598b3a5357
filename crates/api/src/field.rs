//! Errors about one field of an object, worded as the Kubernetes API words them.
//!
//! Source of the texts: `k8s.io/apimachinery/pkg/util/validation/field`; they are an interface that
//! users read and tools match.

use std::fmt;

use serde_json::Value;

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// It is missing.
    Required,
    /// Its value breaks a rule.
    Invalid,
    /// Its value is none of the supported ones.
    NotSupported,
    /// Its value occurs twice where it must be unique.
    Duplicate,
    /// It may not be set here.
    Forbidden,
    /// It names something that does not exist.
    NotFound,
    /// It is too long.
    TooLong,
    /// It has too many elements.
    TooMany,
    /// Its type is wrong.
    TypeInvalid,
    /// Checking it failed.
    Internal,
}

impl FieldErrorKind {
    /// The machine-readable reason in a Status cause.
    #[must_use]
    pub fn reason(self) -> &'static str {
        self.words().0
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Required => ("FieldValueRequired", "Required value"),
            Self::Invalid => ("FieldValueInvalid", "Invalid value"),
            Self::NotSupported => ("FieldValueNotSupported", "Unsupported value"),
            Self::Duplicate => ("FieldValueDuplicate", "Duplicate value"),
            Self::Forbidden => ("FieldValueForbidden", "Forbidden"),
            Self::NotFound => ("FieldValueNotFound", "Not found"),
            Self::TooLong => ("FieldValueTooLong", "Too long"),
            Self::TooMany => ("FieldValueTooMany", "Too many"),
            Self::TypeInvalid => ("FieldValueTypeInvalid", "Invalid value"),
            Self::Internal => ("InternalError", "Internal error"),
        }
    }
}

/// One broken rule: where, what value, why.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// What is wrong.
    pub kind: FieldErrorKind,
    /// Where, such as `spec.ports[0].port`.
    pub path: String,
    /// The value found; `Null` when it does not matter.
    pub value: Value,
    /// Why, in a sentence fragment; may be empty.
    pub detail: String,
}

impl FieldError {
    /// A missing value.
    #[must_use]
    pub fn required(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Required, path, Value::Null, detail)
    }

    /// A value that breaks a rule.
    #[must_use]
    pub fn invalid(path: impl Into<String>, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Invalid, path, value, detail)
    }

    /// A value that is none of the supported ones, which are named in the order given.
    #[must_use]
    pub fn not_supported(path: impl Into<String>, value: impl Into<Value>, supported: &[&str]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|one| format!("{one:?}")).collect();
        let detail = if quoted.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", quoted.join(", "))
        };
        Self::new(FieldErrorKind::NotSupported, path, value, detail)
    }

    /// A value that occurs twice.
    #[must_use]
    pub fn duplicate(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::Duplicate, path, value, "")
    }

    /// A field that may not be set.
    #[must_use]
    pub fn forbidden(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Forbidden, path, Value::Null, detail)
    }

    /// A text longer than `limit` bytes.
    #[must_use]
    pub fn too_long(path: impl Into<String>, limit: usize) -> Self {
        Self::new(FieldErrorKind::TooLong, path, Value::Null, format!("may not be more than {limit} bytes"))
    }

    /// A list with `actual` elements where `limit` are allowed.
    #[must_use]
    pub fn too_many(path: impl Into<String>, actual: usize, limit: usize) -> Self {
        let noun = if limit == 1 { "item" } else { "items" };
        Self::new(FieldErrorKind::TooMany, path, actual, format!("must have at most {limit} {noun}"))
    }

    /// An error of any kind.
    #[must_use]
    pub fn new(
        kind: FieldErrorKind,
        path: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self { kind, path: path.into(), value: value.into(), detail: detail.into() }
    }

    /// The error without its path, as a Status cause carries it.
    #[must_use]
    pub fn body(&self) -> String {
        let (_, words) = self.kind.words();
        let shows_value = !matches!(
            self.kind,
            FieldErrorKind::Required
                | FieldErrorKind::Forbidden
                | FieldErrorKind::TooLong
                | FieldErrorKind::Internal
        );
        let mut text = words.to_owned();
        if shows_value {
            text.push_str(": ");
            text.push_str(&render(&self.value));
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

impl std::error::Error for FieldError {}

fn render(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_upstream_words_them() {
        let table = [
            (
                FieldError::invalid("spec.ports[0].port", 70000, "must be between 1 and 65535, inclusive"),
                "spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ),
            (FieldError::required("spec.ports", ""), "spec.ports: Required value"),
            (
                FieldError::required("spec.externalName", "say where"),
                "spec.externalName: Required value: say where",
            ),
            (
                FieldError::not_supported("spec.type", "x", &["A", "B"]),
                "spec.type: Unsupported value: \"x\": supported values: \"A\", \"B\"",
            ),
            (
                FieldError::duplicate("spec.ports[1].name", "http"),
                "spec.ports[1].name: Duplicate value: \"http\"",
            ),
            (
                FieldError::forbidden("spec.clusterIPs", "may not be set"),
                "spec.clusterIPs: Forbidden: may not be set",
            ),
            (
                FieldError::too_long("metadata.name", 63),
                "metadata.name: Too long: may not be more than 63 bytes",
            ),
            (
                FieldError::too_many("endpoints", 1001, 1000),
                "endpoints: Too many: 1001: must have at most 1000 items",
            ),
        ];
        for (error, expected) in table {
            assert_eq!(error.to_string(), expected);
        }
    }
}
