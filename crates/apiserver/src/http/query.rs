//! The query parameters of API requests.

use std::collections::HashMap;
use std::num::IntErrorKind;
use std::time::Duration;

use api::seconds::Seconds;
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

    /// Whether a boolean parameter is set: to anything but `0` and `false`, as upstream reads it.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// A parameter that is a number of 64 bits with a sign, as all of them are.
    ///
    /// # Errors
    /// 400 for what is no such number, the empty text included.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, Status> {
        self.values.get(name).map(|text| parse_number(text)).transpose()
    }

    /// `limit`: the page size of a list; 0 is no limit.
    pub(crate) fn limit(&self) -> Result<usize, Status> {
        Ok(self.number("limit")?.map_or(0, |limit| usize::try_from(limit).unwrap_or(0)))
    }

    /// `timeoutSeconds` of a watch: none leaves it to the server, as 0 does. One in the past ends it at once.
    pub(crate) fn timeout(&self) -> Result<Option<Duration>, Status> {
        let given = self.number("timeoutSeconds")?.filter(|seconds| *seconds != 0);
        Ok(given.map(|seconds| Seconds::from(seconds).duration()))
    }

    /// `resourceVersion`, none when it is absent.
    pub(crate) fn revision(&self) -> Result<Option<Revision>, Status> {
        self.get("resourceVersion").map(parse_revision).transpose()
    }

    /// `resourceVersion` together with `resourceVersionMatch`, for lists.
    pub(crate) fn revision_match(&self) -> Result<Option<RevisionMatch>, Status> {
        super::options::check_list(self)?;
        let exact = self.get("resourceVersionMatch") == Some("Exact");
        Ok(self.revision()?.map(|revision| match exact {
            true => RevisionMatch::Exact(revision),
            false => RevisionMatch::NotOlderThan(revision),
        }))
    }
}

/// Reads a number as Go's `strconv.ParseInt` does, with its words for what is none.
fn parse_number(text: &str) -> Result<i64, Status> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        let problem = match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: {problem}"))
    })
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
    fn a_flag_is_set_by_anything_but_0_and_false() {
        let query = Query::parse(Some("a=1&b=TRUE&c=0&d=False&e=yes&f"));
        let set: Vec<&str> =
            ["a", "b", "c", "d", "e", "f", "g"].into_iter().filter(|name| query.flag(name)).collect();
        assert_eq!(set, ["a", "b", "e", "f"]);
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
    #[test]
    fn numbers_are_of_64_bits_and_as_seconds_they_saturate() {
        let of = |text: &str| Query::parse(Some(&format!("timeoutSeconds={text}"))).timeout();
        assert_eq!(of("60").unwrap(), Some(Duration::from_secs(60)));
        assert_eq!(of("0").unwrap(), None);
        assert_eq!(of("-9223372036854775808").unwrap(), Some(Duration::ZERO));
        let longest = of("9223372036854775807").unwrap().unwrap();
        assert!(std::time::Instant::now().checked_add(longest).is_some());
        for (text, problem) in [
            ("18446744073709551615", "value out of range"),
            ("-9223372036854775809", "value out of range"),
            ("", "invalid syntax"),
            ("1s", "invalid syntax"),
            ("1.5", "invalid syntax"),
        ] {
            let status = of(text).unwrap_err();
            let expected = format!("strconv.ParseInt: parsing {text:?}: {problem}");
            assert_eq!((status.code, status.message), (400, expected));
        }
        let limit = |text| Query::parse(Some(text)).limit();
        assert_eq!(limit("limit=-1").unwrap(), 0);
        assert!(limit("limit=9223372036854775808").is_err());
    }
}
