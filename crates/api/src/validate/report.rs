//! Collecting field errors.

use serde_json::Value;

use super::names;
use crate::field::FieldError;

/// The broken rules found so far.
#[derive(Default)]
pub(super) struct Report {
    errors: Vec<FieldError>,
}

/// What upstream says of a field that may not change.
pub(super) const IMMUTABLE: &str = "field is immutable";
/// What upstream says of a negative number.
const NEGATIVE: &str = "must be greater than or equal to 0";

impl Report {
    pub(super) fn into_errors(self) -> Vec<FieldError> {
        self.errors
    }

    pub(super) fn add(&mut self, error: FieldError) {
        self.errors.push(error);
    }

    pub(super) fn required(&mut self, path: impl Into<String>, detail: &str) {
        self.add(FieldError::required(path, detail));
    }

    pub(super) fn forbidden(&mut self, path: impl Into<String>, detail: &str) {
        self.add(FieldError::forbidden(path, detail));
    }

    pub(super) fn invalid(&mut self, path: impl Into<String>, value: &Value, detail: &str) {
        self.add(FieldError::invalid(path, value.clone(), detail));
    }

    /// One error for each complaint about a text.
    pub(super) fn complaints(&mut self, path: &str, text: &str, complaints: Vec<String>) {
        self.errors.extend(complaints.into_iter().map(|detail| FieldError::invalid(path, text, detail)));
    }

    /// The value must be there and be one of those supported.
    pub(super) fn one_of(&mut self, path: impl Into<String>, value: &Value, supported: &[&str]) {
        match value.as_str() {
            None | Some("") => self.required(path, ""),
            Some(text) if supported.contains(&text) => {}
            Some(text) => self.add(FieldError::not_supported(path, text, supported)),
        }
    }

    /// The value, when there is one, must be one of those supported.
    pub(super) fn optional_one_of(&mut self, path: impl Into<String>, value: &Value, supported: &[&str]) {
        if !value.is_null() {
            self.one_of(path, value, supported);
        }
    }

    /// The number, when there is one, must not be negative.
    pub(super) fn not_negative(&mut self, path: impl Into<String>, value: &Value) {
        if value.as_i64().is_some_and(|number| number < 0) {
            self.invalid(path, value, NEGATIVE);
        }
    }

    /// The number must be a port's.
    pub(super) fn port(&mut self, path: &str, value: &Value) {
        let number = value.as_i64().unwrap_or(0);
        for detail in names::port_number(number) {
            self.add(FieldError::invalid(path, number, detail));
        }
    }

    /// The two must be equal.
    pub(super) fn unchanged(&mut self, path: impl Into<String>, new: &Value, old: &Value) {
        if new != old {
            self.invalid(path, new, IMMUTABLE);
        }
    }

    /// Keys and values of a map of labels.
    pub(super) fn labels(&mut self, path: &str, labels: &Value) {
        for (key, value) in labels.as_object().into_iter().flatten() {
            self.complaints(path, key, names::qualified_name(key));
            let value = value.as_str().unwrap_or_default();
            self.complaints(path, value, names::label_value(value));
        }
    }
}
