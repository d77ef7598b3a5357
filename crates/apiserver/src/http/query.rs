//! The query parameters of API requests.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use api::codec::FieldValidation;
use api::status::Status;
use store::Revision;

/// A decoded query string. Parameters that are not known are passed over, as Kubernetes does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    values: HashMap<String, String>,
}

/// How the revision of a list is to be matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RevisionMatch {
    /// Any state at least as new.
    NotOlderThan(Revision),
    /// Exactly that state.
    Exact(Revision),
}

impl Query {
    /// Decodes the part of a URL after the question mark; of repeated parameters the first counts.
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let mut values = HashMap::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            values.entry(name.into_owned()).or_insert_with(|| value.into_owned());
        }
        Self { values }
    }

    /// The value of a parameter; an empty one counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether a boolean parameter is set.
    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1"))
    }

    fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Status> {
        self.get(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    Status::bad_request(format!(
                        "invalid value {text:?} for parameter {name}: it must be a number"
                    ))
                })
            })
            .transpose()
    }

    /// `limit`: the page size of a list; 0 is no limit.
    pub(crate) fn limit(&self) -> Result<usize, Status> {
        Ok(self.number::<i64>("limit")?.map_or(0, |limit| usize::try_from(limit).unwrap_or(0)))
    }

    /// `timeoutSeconds` of a watch.
    pub(crate) fn timeout(&self) -> Result<Option<Duration>, Status> {
        Ok(self.number::<u64>("timeoutSeconds")?.filter(|seconds| *seconds > 0).map(Duration::from_secs))
    }

    /// `resourceVersion`, none when it is absent.
    pub(crate) fn revision(&self) -> Result<Option<Revision>, Status> {
        self.get("resourceVersion").map(parse_revision).transpose()
    }

    /// `resourceVersion` together with `resourceVersionMatch`, for lists.
    pub(crate) fn revision_match(&self) -> Result<Option<RevisionMatch>, Status> {
        let revision = self.revision()?;
        match (self.get("resourceVersionMatch"), revision) {
            (None | Some("NotOlderThan"), Some(revision)) => Ok(Some(RevisionMatch::NotOlderThan(revision))),
            (Some("Exact"), Some(revision)) if revision > 0 => Ok(Some(RevisionMatch::Exact(revision))),
            (None, None) => Ok(None),
            (Some("Exact"), Some(_)) => Err(Status::bad_request(
                "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"",
            )),
            (Some(_), None) => Err(Status::bad_request(
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            )),
            (Some(other), _) => Err(Status::bad_request(format!(
                "unsupported resourceVersionMatch {other:?}: supported values: \"Exact\", \"NotOlderThan\""
            ))),
        }
    }

    /// `dryRun`: whether the request must not be persisted.
    pub(crate) fn dry_run(&self) -> Result<bool, Status> {
        match self.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => {
                Err(Status::bad_request(format!("invalid dryRun value {other:?}: supported values: \"All\"")))
            }
        }
    }

    /// `fieldValidation`; upstream's default is to warn.
    pub(crate) fn field_validation(&self) -> Result<FieldValidation, Status> {
        match self.get("fieldValidation") {
            None | Some("Warn") => Ok(FieldValidation::Warn),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some(other) => Err(Status::bad_request(format!(
                "invalid fieldValidation value {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
            ))),
        }
    }
}

/// Reads a resource version.
pub(crate) fn parse_revision(text: &str) -> Result<Revision, Status> {
    text.parse().map_err(|_| {
        Status::bad_request(format!("Invalid value: {text:?}: resourceVersion must be a number"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_percent_decoded() {
        let query = Query::parse(Some("labelSelector=app%3Dweb%2Ctier+in+%28a%29&watch=1&limit=500"));
        assert_eq!(query.get("labelSelector"), Some("app=web,tier in (a)"));
        assert!(query.flag("watch"));
        assert_eq!(query.limit().unwrap(), 500);
    }

    #[test]
    fn an_exact_match_needs_a_revision() {
        let of = |text| Query::parse(Some(text)).revision_match();
        assert_eq!(
            of("resourceVersion=7&resourceVersionMatch=Exact").unwrap(),
            Some(RevisionMatch::Exact(7))
        );
        assert_eq!(of("resourceVersion=0").unwrap(), Some(RevisionMatch::NotOlderThan(0)));
        assert!(of("resourceVersion=0&resourceVersionMatch=Exact").is_err());
        assert!(of("resourceVersionMatch=Exact").is_err());
        assert!(of("resourceVersion=x").is_err());
    }
}
