//! Watches: the store's changes as the events of one selection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use api::schema::Kind;
use api::status::Status;
use bytes::Bytes;
use futures::Stream;
use futures::future::Either;
use serde_json::{Value, json};
use store::{Batch, Event, ListOptions, Record, Revision, Watcher};
use tokio::time::{Instant, sleep_until};

use super::{Registry, Selection, prefix, read_error};
use crate::http::options::check_watch;
use crate::http::query::Query;
use crate::object::{self, metadata};

/// A watch without `timeoutSeconds` ends after this time and up to as much again.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// How often a quiet watch that allows it is told how far the world has moved on.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// Marks the bookmark that ends the initial events (KEP-3157).
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// What a watch request asks for.
#[derive(Debug)]
pub(crate) struct WatchQuery {
    selection: Arc<Selection>,
    revision: Option<Revision>,
    initial_events: bool,
    bookmarks: bool,
    timeout: Duration,
}

impl WatchQuery {
    /// Reads the parameters of a watch; `name` narrows it to one object.
    pub(crate) fn new(kind: &Kind, query: &Query, name: Option<&str>) -> Result<Self, Status> {
        check_watch(query)?;
        let initial_events = query.flag("sendInitialEvents");
        let revision = query.revision()?;
        let spread = Duration::from_millis(fastrand::u64(0..DEFAULT_TIMEOUT.as_millis() as u64));
        Ok(Self {
            selection: Arc::new(Selection::new(kind, query, name)?),
            revision: revision.filter(|revision| *revision > 0),
            initial_events,
            bookmarks: query.flag("allowWatchBookmarks"),
            timeout: query.timeout()?.unwrap_or(DEFAULT_TIMEOUT + spread),
        })
    }
}

#[cfg(feature = "fuzz")]
impl WatchQuery {
    /// How long the watch is to last.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// One event of a watch.
#[derive(Clone, Debug)]
pub(crate) struct WatchedEvent {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    pub(crate) kind: &'static str,
    /// The object in its final form.
    pub(crate) object: Bytes,
}

impl WatchedEvent {
    /// That the watch cannot go on.
    fn error(status: &Status) -> Self {
        Self { kind: "ERROR", object: status.to_value().to_string().into() }
    }
}

struct State {
    registry: Arc<Registry>,
    kind: &'static Kind,
    prefix: String,
    query: WatchQuery,
    /// What was there when the watch began, as far as it was not told yet.
    initial: Option<Initial>,
    watcher: Box<dyn Watcher>,
    pending: VecDeque<WatchedEvent>,
    /// Changes that are next, as far as they were not told yet.
    changes: VecDeque<Arc<Event>>,
    deadline: Instant,
    bookmark: Instant,
    ended: bool,
}

/// The objects of a state from one key on.
struct Initial {
    at: Revision,
    after: Option<String>,
    /// Whether a bookmark tells that all were told.
    bookmark: bool,
}

/// A watch whose client does not read holds about so many bytes of objects; for the rest it has a position.
const HELD: usize = 4 * 1024 * 1024;

/// Begins a watch; the stream ends with the watch. A revision that is too old to continue from is told by an event of
/// type ERROR, as upstream has it: there clients look for it, and list anew.
///
/// # Errors
/// The revision lies in the future, or the objects cannot be read.
pub(crate) async fn watch(
    registry: &Arc<Registry>,
    kind: &'static Kind,
    namespace: Option<&str>,
    query: WatchQuery,
) -> Result<impl Stream<Item = WatchedEvent> + use<>, Status> {
    let current = registry.store.revision();
    registry.check_reached(query.revision)?;
    let lists = query.initial_events || query.revision.is_none();
    let prefix = prefix(kind, namespace);
    let start = if lists { current } else { query.revision.unwrap_or(current) };
    let watcher = match registry.store.watch(&prefix, start) {
        Ok(watcher) => watcher,
        Err(error @ store::ReadError::TooOld { .. }) => {
            let event = WatchedEvent::error(&read_error(&error));
            return Ok(Either::Left(futures::stream::iter([event])));
        }
        Err(error) => return Err(read_error(&error)),
    };
    let bookmark = query.initial_events && query.bookmarks;
    let initial = lists.then_some(Initial { at: current, after: None, bookmark });
    let now = Instant::now();
    let (deadline, next) = (now + query.timeout, now + BOOKMARK_INTERVAL);
    let mut state = State {
        registry: registry.clone(),
        kind,
        prefix,
        query,
        initial,
        watcher,
        pending: VecDeque::new(),
        changes: VecDeque::new(),
        deadline,
        bookmark: next,
        ended: false,
    };
    // What cannot be read is told at once.
    state.read_initial().await?;
    Ok(Either::Right(futures::stream::unfold(state, |mut state| async {
        let event = state.next().await?;
        Some((event, state))
    })))
}

impl State {
    async fn next(&mut self) -> Option<WatchedEvent> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            if self.initial.is_some() {
                if let Err(status) = self.read_initial().await {
                    self.fail(&status);
                }
                continue;
            }
            if let Some(event) = self.changes.pop_front() {
                match select(&event, &self.query.selection) {
                    Ok(selected) => self.pending.extend(selected),
                    Err(status) => self.fail(&status),
                }
                continue;
            }
            let wake = self.deadline.min(self.bookmark);
            tokio::select! {
                batch = self.watcher.next() => match batch {
                    Ok(batch) => self.take(batch),
                    Err(store::ReadError::Closed) => self.ended = true,
                    Err(error) => self.fail(&read_error(&error)),
                },
                () = sleep_until(wake) => {
                    self.ended = Instant::now() >= self.deadline;
                    self.bookmark = Instant::now() + BOOKMARK_INTERVAL;
                    if self.query.bookmarks {
                        self.pending.push_back(bookmark(self.kind, self.watcher.progress(), false));
                    }
                }
            }
        }
    }

    /// Takes the next changes. Of more than are to be held, the rest is read again when it is wanted.
    fn take(&mut self, batch: Batch) {
        let mut size = 0;
        let all = batch.len();
        self.changes.extend(batch.into_iter().take_while(|event| {
            let before = event.previous.as_ref().map_or(0, |record| record.value.len());
            let fits = size < HELD;
            size += before + event.record.value.len();
            fits
        }));
        if self.changes.len() < all
            && let Some(last) = self.changes.back()
        {
            match self.registry.store.watch(&self.prefix, last.record.revision) {
                Ok(watcher) => self.watcher = watcher,
                Err(error) => self.fail(&read_error(&error)),
            }
        }
    }

    /// Reads on among the objects that were there when the watch began.
    async fn read_initial(&mut self) -> Result<(), Status> {
        let Some(Initial { at, after, bookmark: tells }) = self.initial.take() else { return Ok(()) };
        let options = ListOptions { after, at: Some(at), limit: 0 };
        let page = self.registry.store.list(&self.prefix, options).await;
        let mut rest = page.map_err(|error| read_error(&error))?.records.into_iter();
        let (mut read, mut size) = (Vec::new(), 0);
        while size < HELD
            && let Some(record) = rest.next()
        {
            size += record.value.len();
            read.push(record);
        }
        let last = read.last().map(|record| record.key.to_string());
        let all = rest.next().is_none();
        drop(rest);
        let selected = self.registry.selected(read, &self.query.selection).await?;
        let added = selected.into_iter().map(|record| WatchedEvent { kind: "ADDED", object: record.value });
        self.pending.extend(added);
        if !all {
            self.initial = Some(Initial { at, after: last, bookmark: tells });
        } else if tells {
            self.pending.push_back(bookmark(self.kind, at, true));
        }
        Ok(())
    }

    /// A watch that cannot go on says so and ends.
    fn fail(&mut self, status: &Status) {
        self.pending.push_back(WatchedEvent::error(status));
        self.changes.clear();
        self.initial = None;
        self.ended = true;
    }
}

/// What a change is to those who only see their selection: an object may enter and leave it.
fn select(event: &Event, selection: &Selection) -> Result<Option<WatchedEvent>, Status> {
    let value = event.record.value.clone();
    if selection.is_everything() {
        let kind = match (event.deleted, &event.previous) {
            (true, _) => "DELETED",
            (false, None) => "ADDED",
            (false, Some(_)) => "MODIFIED",
        };
        return Ok(Some(WatchedEvent { kind, object: value }));
    }
    let matches = |record: &Record| selection.matches_record(record);
    let before = event.previous.as_ref().map_or(Ok(false), matches)?;
    let after = !event.deleted && matches(&event.record)?;
    Ok(match (before, after) {
        (false, false) => None,
        (false, true) => Some(WatchedEvent { kind: "ADDED", object: value }),
        (true, true) => Some(WatchedEvent { kind: "MODIFIED", object: value }),
        (true, false) if event.deleted => Some(WatchedEvent { kind: "DELETED", object: value }),
        (true, false) => {
            let mut last = event.previous.as_ref().map_or(Ok(Value::Null), object::read)?;
            metadata(&mut last)
                .insert("resourceVersion".to_owned(), event.record.revision.to_string().into());
            Some(WatchedEvent { kind: "DELETED", object: last.to_string().into() })
        }
    })
}

fn bookmark(kind: &Kind, revision: Revision, ends_initial_events: bool) -> WatchedEvent {
    let mut metadata = json!({ "resourceVersion": revision.to_string() });
    if ends_initial_events {
        metadata["annotations"] = json!({ INITIAL_EVENTS_END: "true" });
    }
    let object = json!({ "kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata });
    WatchedEvent { kind: "BOOKMARK", object: object.to_string().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(revision: Revision, tier: &str) -> Record {
        let object = json!({"metadata": {"name": "a", "labels": {"tier": tier}}});
        Record { key: "/registry/pods/default/a".into(), revision, value: object.to_string().into() }
    }

    fn selection(labels: &str) -> Selection {
        let kind = api::schema::Schema::builtin().resource("", "v1", "pods").unwrap();
        Selection::new(kind, &Query::parse(Some(&format!("labelSelector={labels}"))), None).unwrap()
    }

    #[test]
    fn an_object_that_leaves_the_selection_is_deleted_with_its_last_labels() {
        let event = Event { record: record(9, "back"), deleted: false, previous: Some(record(4, "front")) };
        let seen = select(&event, &selection("tier%3Dfront")).unwrap().unwrap();
        let object: Value = serde_json::from_slice(&seen.object).unwrap();
        assert_eq!(seen.kind, "DELETED");
        assert_eq!(object["metadata"]["labels"]["tier"], "front");
        assert_eq!(object["metadata"]["resourceVersion"], "9");
    }

    #[test]
    fn an_object_that_enters_the_selection_is_added() {
        let event = Event { record: record(9, "front"), deleted: false, previous: Some(record(4, "back")) };
        assert_eq!(select(&event, &selection("tier%3Dfront")).unwrap().unwrap().kind, "ADDED");
        assert!(select(&event, &selection("tier%3Dother")).unwrap().is_none());
    }
}
