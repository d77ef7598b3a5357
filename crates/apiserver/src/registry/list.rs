//! Lists: selection, pages, revisions.

use std::sync::Arc;

use api::schema::Kind;
use api::selector::{FieldSelector, LabelSelector};
use api::status::Status;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{ListOptions, Record, Revision};

use super::{Registry, prefix, read_error, too_new};
use crate::http::query::{Query, RevisionMatch};
use crate::object;
use crate::workshop::LONG;

/// Which objects of a collection a request means.
#[derive(Debug)]
pub(crate) struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    /// The one name that the field selector or the path asks for.
    name: Option<String>,
}

impl Selection {
    /// Reads `labelSelector` and `fieldSelector`; `name` narrows to one object.
    pub(crate) fn new(kind: &Kind, query: &Query, name: Option<&str>) -> Result<Self, Status> {
        Ok(Self {
            labels: LabelSelector::parse(query.get("labelSelector").unwrap_or_default())?,
            fields: FieldSelector::parse(kind, query.get("fieldSelector").unwrap_or_default())?,
            name: name.map(str::to_owned),
        })
    }

    /// Whether every object is meant, so that none needs to be read to know.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything() && self.name.is_none()
    }

    /// Whether this record is meant. Of its object only what the selection looks at is read.
    pub(crate) fn matches_record(&self, record: &Record) -> Result<bool, Status> {
        let object = match self.fields.is_everything() {
            true => object::read_metadata(record)?,
            false => object::read(record)?,
        };
        Ok(self.matches(&object))
    }

    fn matches(&self, object: &Value) -> bool {
        self.name.as_deref().is_none_or(|name| name == object::meta_str(object, "name"))
            && self.labels.matches(object["metadata"].get("labels"))
            && self.fields.matches(object)
    }
}

/// What a list request asks for.
#[derive(Debug)]
pub(crate) struct ListQuery {
    /// Which objects.
    pub(crate) selection: Arc<Selection>,
    limit: usize,
    from: Option<Continue>,
    revision: Option<RevisionMatch>,
}

/// Where the next page of a list begins; clients hand it back as they got it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Continue {
    v: String,
    rv: Revision,
    start: String,
}

const CONTINUE_VERSION: &str = "meta.k8s.io/v1";

impl Continue {
    fn encode(rv: Revision, start: &str) -> String {
        let token = Self { v: CONTINUE_VERSION.to_owned(), rv, start: start.to_owned() };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }

    fn decode(text: &str) -> Result<Self, Status> {
        let token = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
        token
            .and_then(|json| serde_json::from_slice::<Self>(&json).ok())
            .filter(|token| token.v == CONTINUE_VERSION)
            .ok_or_else(|| Status::bad_request("continue key is not valid: it was not made by this server"))
    }
}

impl ListQuery {
    /// Reads the parameters of a list.
    pub(crate) fn new(kind: &Kind, query: &Query) -> Result<Self, Status> {
        let from = query.get("continue").map(Continue::decode).transpose()?;
        let revision = query.revision_match()?;
        if from.is_some()
            && matches!(revision, Some(RevisionMatch::Exact(_) | RevisionMatch::NotOlderThan(1..)))
        {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        Ok(Self {
            selection: Arc::new(Selection::new(kind, query, None)?),
            limit: query.limit()?,
            from,
            revision,
        })
    }
}

/// One page of objects.
#[derive(Debug)]
pub(crate) struct Listed {
    /// The objects of the page.
    pub(crate) records: Vec<Record>,
    /// The state they are of.
    pub(crate) revision: Revision,
    /// The token for the next page, if there is one.
    pub(crate) token: Option<String>,
    /// How many objects follow, if that is known without reading them.
    pub(crate) remaining: Option<usize>,
}

impl Registry {
    /// One page of a collection.
    ///
    /// # Errors
    /// The revision is too old or too new, or the token is not one of ours.
    pub(crate) async fn list(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        query: &ListQuery,
    ) -> Result<Listed, Status> {
        let current = self.store.revision();
        let at = match (&query.from, query.revision) {
            (Some(from), _) => Some(from.rv),
            (None, Some(RevisionMatch::Exact(revision))) => Some(revision),
            (None, Some(RevisionMatch::NotOlderThan(revision))) if revision > current => {
                return Err(too_new(revision, current));
            }
            (None, _) => None,
        };
        let everything = query.selection.is_everything();
        let options = ListOptions {
            after: query.from.as_ref().map(|from| from.start.clone()),
            limit: if everything { query.limit } else { 0 },
            at,
        };
        let page = self.store.list(&prefix(kind, namespace), options).await.map_err(|error| {
            match (&query.from, &error) {
                (Some(_), store::ReadError::TooOld { .. }) => Status::expired(
                    "The provided continue parameter is too old to display a consistent list result. Start a new list without the continue parameter.",
                ),
                _ => read_error(&error),
            }
        })?;
        let (mut records, mut remaining) = (page.records, page.remaining);
        if !everything {
            records = self.selected(records, &query.selection).await?;
            if query.limit > 0 && records.len() > query.limit {
                remaining = records.len() - query.limit;
                records.truncate(query.limit);
            }
        }
        let token =
            records.last().filter(|_| remaining > 0).map(|last| Continue::encode(page.revision, &last.key));
        let remaining = (everything && remaining > 0).then_some(remaining);
        Ok(Listed { records, revision: page.revision, token, remaining })
    }

    /// The objects that a selection means, as they are now or were at a revision.
    pub(crate) async fn select(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        selection: &Arc<Selection>,
        at: Option<Revision>,
    ) -> Result<Vec<Record>, Status> {
        let options = ListOptions { at, ..ListOptions::default() };
        let page = self.store.list(&prefix(kind, namespace), options).await;
        self.selected(page.map_err(|error| read_error(&error))?.records, selection).await
    }
}

/// So many bytes of objects are looked through in one go.
const SLICE: usize = 1024 * 1024;

impl Registry {
    /// Those of the records that are meant. Many are looked through in slices, away from the threads that answer.
    pub(super) async fn selected(
        &self,
        records: Vec<Record>,
        selection: &Arc<Selection>,
    ) -> Result<Vec<Record>, Status> {
        if selection.is_everything() {
            return Ok(records);
        }
        let mut records = records.into_iter().peekable();
        let mut selected = Vec::new();
        while records.peek().is_some() {
            let mut size = 0;
            let fits = |record: &Record| {
                size += record.value.len();
                size <= SLICE || size == record.value.len()
            };
            let slice: Vec<Record> = std::iter::from_fn({
                let mut fits = fits;
                let records = &mut records;
                move || records.next_if(|record| fits(record))
            })
            .collect();
            let found = if size < LONG {
                select(slice, selection)?
            } else {
                let selection = selection.clone();
                self.workshop.run(move || select(slice, &selection)).await??
            };
            selected.extend(found);
        }
        Ok(selected)
    }
}

fn select(records: Vec<Record>, selection: &Selection) -> Result<Vec<Record>, Status> {
    let mut selected = Vec::new();
    for record in records {
        if selection.matches_record(&record)? {
            selected.push(record);
        }
    }
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_continue_token_is_read_back_and_a_foreign_one_refused() {
        let token = Continue::encode(7, "/registry/pods/default/a");
        assert_eq!(Continue::decode(&token).unwrap().start, "/registry/pods/default/a");
        for foreign in ["", "x", "e30", "!!"] {
            assert_eq!(Continue::decode(foreign).unwrap_err().code, 400);
        }
    }
}
