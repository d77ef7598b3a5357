//! The options of requests, held to the rules and texts of `k8s.io/apimachinery` (`pkg/apis/meta/v1/validation`
//! and `pkg/apis/meta/internalversion/validation`).

use api::codec::FieldValidation;
use api::field::{FieldError, FieldErrorKind};
use api::status::Status;
use serde_json::json;

use super::query::Query;

/// A field manager's name has at most so many bytes.
const MAX_FIELD_MANAGER: usize = 128;

/// What a create, an update or a patch asks of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WriteOptions {
    /// Whether nothing is to be persisted.
    pub(crate) dry_run: bool,
    /// What becomes of fields that the schema does not know.
    pub(crate) validation: FieldValidation,
}

impl WriteOptions {
    /// Reads the options; `kind` is their kind in meta.k8s.io, such as `CreateOptions`.
    ///
    /// # Errors
    /// 422 with every option that breaks a rule.
    pub(crate) fn read(kind: &str, query: &Query) -> Result<Self, Status> {
        let mut errors = Vec::new();
        if kind == "PatchOptions" && query.get("force").is_some() {
            errors.push(FieldError::forbidden("force", "may not be specified for non-apply patch"));
        }
        errors.extend(field_manager(query.get("fieldManager").unwrap_or_default()));
        errors.extend(query.get("dryRun").and_then(|value| dry_run([value])));
        let validation = match query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                errors.push(FieldError::not_supported("fieldValidation", other, &supported));
                FieldValidation::Warn
            }
        };
        match errors.is_empty() {
            true => Ok(Self { dry_run: query.get("dryRun").is_some(), validation }),
            false => Err(Status::invalid_options(kind, errors)),
        }
    }
}

/// The rule of `dryRun`: all stages or none.
pub(crate) fn dry_run<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<FieldError> {
    let values: Vec<&str> = values.into_iter().collect();
    let known = values.iter().all(|value| *value == "All");
    (!known).then(|| FieldError::not_supported("dryRun", json!(values), &["All"]))
}

fn field_manager(name: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if name.len() > MAX_FIELD_MANAGER {
        errors.push(FieldError::too_long("fieldManager", MAX_FIELD_MANAGER));
    }
    for (at, letter) in name.char_indices().filter(|(_, letter)| letter.is_control()) {
        let detail = format!("invalid character U+{:04X} (at position {at})", u32::from(letter));
        errors.push(FieldError::new(FieldErrorKind::Invalid, "fieldManager", name, detail));
    }
    errors
}

const MATCH: &str = "resourceVersionMatch";
const SEND: &str = "sendInitialEvents";

/// The rules of the options of a list.
///
/// # Errors
/// 400 for a number that is none, and 422 with every option that breaks a rule.
pub(crate) fn check_list(query: &Query) -> Result<(), Status> {
    check_numbers(query)?;
    let given = query.get(MATCH);
    let revision = query.get("resourceVersion");
    let matching = given.unwrap_or_default();
    let rules = [
        (
            given.is_some() && revision.is_none(),
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (given.is_some() && query.get("continue").is_some(), CONTINUED),
        (
            matching == "Exact" && revision == Some("0"),
            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ),
    ];
    let mut errors = forbidden(&rules);
    if given.is_some() && !matches!(matching, "Exact" | "NotOlderThan") {
        errors.push(FieldError::not_supported(MATCH, matching, &["Exact", "NotOlderThan", ""]));
    }
    if query.get(SEND).is_some() {
        errors.push(FieldError::forbidden(SEND, "sendInitialEvents is forbidden for list"));
    }
    list_status(errors)
}

/// The rules of the options of a watch.
///
/// # Errors
/// 400 for a number that is none, and 422 with every option that breaks a rule.
pub(crate) fn check_watch(query: &Query) -> Result<(), Status> {
    check_numbers(query)?;
    let given = query.get(MATCH);
    let sends = query.get(SEND).is_some();
    let newest = given == Some("NotOlderThan");
    let rules = [
        (sends && !newest, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"),
        (
            given.is_some() && !sends,
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        (given.is_some() && query.get("continue").is_some(), CONTINUED),
    ];
    let mut errors = forbidden(&rules);
    if let Some(other) = given.filter(|_| !newest) {
        errors.push(FieldError::not_supported(MATCH, other, &["NotOlderThan"]));
    }
    list_status(errors)
}

/// The options of lists and watches are read whole, also those that one of them has no use for.
fn check_numbers(query: &Query) -> Result<(), Status> {
    for name in ["limit", "timeoutSeconds"] {
        query.number(name)?;
    }
    Ok(())
}

const CONTINUED: &str = "resourceVersionMatch is forbidden when continue is provided";

fn forbidden(rules: &[(bool, &str)]) -> Vec<FieldError> {
    let broken = rules.iter().filter(|(broken, _)| *broken);
    broken.map(|(_, detail)| FieldError::forbidden(MATCH, *detail)).collect()
}

fn list_status(errors: Vec<FieldError>) -> Result<(), Status> {
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid_options("ListOptions", errors)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(result: Result<impl std::fmt::Debug, Status>) -> String {
        let status = result.unwrap_err();
        assert_eq!(status.code, 422, "{status}");
        status.message
    }

    #[test]
    fn options_of_writes_are_refused_in_upstreams_words() {
        let long = format!("fieldManager={}", "x".repeat(129));
        for (kind, query, message) in [
            (
                "CreateOptions",
                "dryRun=Some",
                "dryRun: Unsupported value: [\"Some\"]: supported values: \"All\"",
            ),
            (
                "UpdateOptions",
                "fieldValidation=Loose",
                "fieldValidation: Unsupported value: \"Loose\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"",
            ),
            ("PatchOptions", "force=true", "force: Forbidden: may not be specified for non-apply patch"),
            ("PatchOptions", long.as_str(), "fieldManager: Too long: may not be more than 128 bytes"),
            (
                "PatchOptions",
                "fieldManager=a%07",
                "fieldManager: Invalid value: \"a\\u0007\": invalid character U+0007 (at position 1)",
            ),
        ] {
            let found = refused(WriteOptions::read(kind, &Query::parse(Some(query))));
            let expected = format!("{kind}.meta.k8s.io \"\" is invalid: {message}");
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn options_of_writes_are_read() {
        let query = Query::parse(Some("dryRun=All&fieldValidation=Strict&fieldManager=kubectl"));
        let read = WriteOptions::read("CreateOptions", &query).unwrap();
        assert_eq!(read, WriteOptions { dry_run: true, validation: FieldValidation::Strict });
    }

    #[test]
    fn a_list_or_watch_whose_options_contradict_each_other_is_refused() {
        for (query, list, watch) in [
            ("", true, true),
            ("resourceVersion=7&resourceVersionMatch=Exact", true, false),
            ("resourceVersion=0&resourceVersionMatch=Exact", false, false),
            ("resourceVersionMatch=NotOlderThan", false, false),
            ("resourceVersion=7&resourceVersionMatch=Newest", false, false),
            ("sendInitialEvents=true", false, false),
            ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan", false, true),
            ("sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion=7", false, true),
        ] {
            let parsed = Query::parse(Some(query));
            assert_eq!((check_list(&parsed).is_ok(), check_watch(&parsed).is_ok()), (list, watch), "{query}");
        }
    }
}
