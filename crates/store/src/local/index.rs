//! The index in memory: the present state, and the history that watchers and paged lists read.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::Retention;
use crate::{Batch, Event, ListOptions, Page, ReadError, Record, Revision};

/// The present state by key, and the events after the compacted revision in order.
///
/// Event `n` of the history has revision `compacted + 1 + n`: finding a place in it is arithmetic.
#[derive(Debug, Default)]
pub(super) struct Index {
    present: BTreeMap<Arc<str>, Record>,
    history: VecDeque<Arc<Event>>,
    compacted: Revision,
    /// What compacting the whole history would free, in bytes.
    history_bytes: usize,
}

/// What an event of the history costs besides its values, in bytes.
const EVENT_BYTES: usize = 192;

/// What compacting an event frees, in bytes: the value that it replaced, and that of a deletion. The value of
/// any other event is the present state of its key, or is freed by the event that replaced it.
fn freed_by(event: &Event) -> usize {
    let replaced = event.previous.as_ref().map_or(0, |previous| previous.value.len());
    let last_state = if event.deleted { event.record.value.len() } else { 0 };
    EVENT_BYTES + event.record.key.len() + replaced + last_state
}

impl Index {
    /// An index whose history starts after `compacted`.
    pub(super) fn starting_at(compacted: Revision) -> Self {
        Self { compacted, ..Self::default() }
    }

    /// The newest revision.
    pub(super) fn head(&self) -> Revision {
        self.compacted + self.history.len() as u64
    }

    /// The present record of `key`.
    pub(super) fn get(&self, key: &str) -> Option<&Record> {
        self.present.get(key)
    }

    /// Replays a change from before the kept history. Superseded ones may still be in the log: a
    /// process may end between making compaction visible and making it durable.
    pub(super) fn restore(&mut self, record: Record, deleted: bool) {
        if deleted {
            self.present.remove(&record.key);
        } else {
            self.present.insert(record.key.clone(), record);
        }
    }

    /// Applies the change with the next revision.
    pub(super) fn apply(&mut self, record: Record, deleted: bool) {
        debug_assert_eq!(record.revision, self.head() + 1);
        let previous = if deleted {
            self.present.remove(&record.key)
        } else {
            self.present.insert(record.key.clone(), record.clone())
        };
        let event = Event { record, deleted, previous };
        self.history_bytes += freed_by(&event);
        self.history.push_back(Arc::new(event));
    }

    /// Up to where the history should be compacted now; none while it is within its bounds.
    pub(super) fn overdue(&self, keep: &Retention) -> Option<Revision> {
        let (count, bytes) = (self.history.len() as u64, self.history_bytes);
        let too_many = count >= keep.revisions.saturating_add(keep.slack);
        let too_large = bytes > keep.bytes.saturating_add(keep.bytes / 4);
        if !too_many && !too_large {
            return None;
        }
        let (mut kept, mut left) = (count, bytes);
        for event in &self.history {
            if kept <= keep.revisions && left <= keep.bytes {
                break;
            }
            kept -= 1;
            left -= freed_by(event);
        }
        Some(self.head() - kept)
    }

    /// The records that compacting up to and including `through` removes: those of the history that are no
    /// longer the present state of any key.
    pub(super) fn superseded(&self, through: Revision) -> Vec<Revision> {
        let mut superseded = Vec::new();
        for event in self.history.range(..self.count_through(through)) {
            superseded.extend(event.previous.as_ref().map(|previous| previous.revision));
            if event.deleted {
                superseded.push(event.record.revision);
            }
        }
        superseded
    }

    /// Forgets the history up to and including `through`.
    pub(super) fn compact(&mut self, through: Revision) {
        let count = self.count_through(through);
        for event in self.history.drain(..count) {
            self.history_bytes -= freed_by(&event);
        }
        self.compacted += count as u64;
    }

    /// How many events of the history have revisions up to and including `through`.
    fn count_through(&self, through: Revision) -> usize {
        through.saturating_sub(self.compacted).min(self.history.len() as u64) as usize
    }

    /// Whether the changes after `revision` are still all there.
    pub(super) fn check_readable(&self, revision: Revision) -> Result<(), ReadError> {
        let (oldest, current) = (self.compacted, self.head());
        if revision < oldest {
            Err(ReadError::TooOld { requested: revision, oldest })
        } else if revision > current {
            Err(ReadError::TooNew { requested: revision, current })
        } else {
            Ok(())
        }
    }

    /// The events after `after` whose keys start with `prefix`, and the revision up to which the history was
    /// read. There are at most `limit` of them, and with the one that exceeds `bytes` the batch ends: who
    /// reads slowly keeps events alive that the history has already forgotten.
    pub(super) fn events(
        &self,
        prefix: &str,
        after: Revision,
        limit: usize,
        bytes: usize,
    ) -> Result<(Batch, Revision), ReadError> {
        self.check_readable(after)?;
        let skip = (after - self.compacted) as usize;
        let mut batch = Batch::new();
        let mut size = 0;
        for event in self.history.range(skip..) {
            if event.record.key.starts_with(prefix) {
                size += event.record.value.len();
                batch.push(event.clone());
                if batch.len() == limit || size > bytes {
                    return Ok((batch, event.record.revision));
                }
            }
        }
        Ok((batch, self.head()))
    }

    /// One page of the records under `prefix`.
    pub(super) fn list(&self, prefix: &str, options: &ListOptions) -> Result<Page, ReadError> {
        let revision = options.at.unwrap_or(self.head());
        self.check_readable(revision)?;
        let start = match &options.after {
            Some(after) if after.as_str() > prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix),
        };
        if revision == self.head() {
            let range = self.present.range::<str, _>((start, Bound::Unbounded)).map(|(_, record)| record);
            return Ok(page(range.take_while(|r| r.key.starts_with(prefix)), options.limit, revision));
        }
        let past = self.state_at(prefix, revision);
        let range = past.range::<str, _>((start, Bound::Unbounded)).map(|(_, record)| *record);
        Ok(page(range, options.limit, revision))
    }

    /// The records under `prefix` as they were at `revision`: the present with the later events
    /// undone, newest first.
    fn state_at(&self, prefix: &str, revision: Revision) -> BTreeMap<&str, &Record> {
        let mut state: BTreeMap<&str, &Record> = self
            .present
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, record)| (key.as_ref(), record))
            .collect();
        let keep = (revision - self.compacted) as usize;
        for event in self.history.range(keep..).rev() {
            let key = event.record.key.as_ref();
            if !key.starts_with(prefix) {
                continue;
            }
            match &event.previous {
                Some(previous) => state.insert(key, previous),
                None => state.remove(key),
            };
        }
        state
    }
}

fn page<'a>(mut records: impl Iterator<Item = &'a Record>, limit: usize, revision: Revision) -> Page {
    let limit = if limit == 0 { usize::MAX } else { limit };
    Page { records: records.by_ref().take(limit).cloned().collect(), remaining: records.count(), revision }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(index: &mut Index, key: &str) {
        let revision = index.head() + 1;
        index.apply(Record { key: key.into(), revision, value: format!("{key}@{revision}").into() }, false);
    }

    fn delete(index: &mut Index, key: &str) {
        let revision = index.head() + 1;
        index.apply(Record { key: key.into(), revision, value: bytes::Bytes::new() }, true);
    }

    fn keys(page: &Page) -> Vec<String> {
        page.records.iter().map(|r| format!("{}@{}", r.key, r.revision)).collect()
    }

    #[test]
    fn a_list_at_a_past_revision_shows_that_state() {
        let mut index = Index::default();
        put(&mut index, "/a/1");
        put(&mut index, "/a/2");
        put(&mut index, "/b/1");
        put(&mut index, "/a/1");
        delete(&mut index, "/a/2");
        put(&mut index, "/a/3");
        let at = |at| index.list("/a/", &ListOptions { at: Some(at), ..Default::default() }).unwrap();
        assert_eq!(keys(&at(2)), ["/a/1@1", "/a/2@2"]);
        assert_eq!(keys(&at(4)), ["/a/1@4", "/a/2@2"]);
        assert_eq!(keys(&at(6)), ["/a/1@4", "/a/3@6"]);
    }

    #[test]
    fn pages_continue_after_the_last_key() {
        let mut index = Index::default();
        for n in 0..5 {
            put(&mut index, &format!("/a/{n}"));
        }
        let first = index.list("/a/", &ListOptions { limit: 2, ..Default::default() }).unwrap();
        assert_eq!((keys(&first), first.remaining), (vec!["/a/0@1".to_owned(), "/a/1@2".to_owned()], 3));
        let after = Some("/a/1".to_owned());
        let rest = index.list("/a/", &ListOptions { after, limit: 9, at: Some(5) }).unwrap();
        assert_eq!((rest.records.len(), rest.remaining), (3, 0));
    }

    #[test]
    fn compaction_names_what_is_superseded_and_refuses_older_reads() {
        let mut index = Index::default();
        put(&mut index, "/a/1");
        put(&mut index, "/a/1");
        put(&mut index, "/a/2");
        delete(&mut index, "/a/2");
        let mut superseded = index.superseded(4);
        superseded.sort_unstable();
        assert_eq!(superseded, [1, 3, 4]);
        index.compact(4);
        assert_eq!(index.check_readable(3), Err(ReadError::TooOld { requested: 3, oldest: 4 }));
        assert!(index.events("/a/", 4, 10, 1 << 20).unwrap().0.is_empty());
        put(&mut index, "/a/3");
        assert_eq!(index.events("/a/", 4, 10, 1 << 20).unwrap().0.len(), 1);
    }

    #[test]
    fn history_is_bounded_by_bytes_as_well_as_by_count() {
        let keep = Retention { revisions: 100, slack: 10, bytes: 8 << 20 };
        let mut index = Index::default();
        let value = bytes::Bytes::from(vec![b'x'; 1 << 20]);
        for revision in 1..=9 {
            index.apply(Record { key: "/a".into(), revision, value: value.clone() }, false);
        }
        assert_eq!(index.overdue(&keep), None, "the newest is the present state, not history");
        for revision in 10..=40 {
            index.apply(Record { key: "/a".into(), revision, value: value.clone() }, false);
            if let Some(through) = index.overdue(&keep) {
                index.compact(through);
            }
            assert!(index.history_bytes <= 10 << 20, "{}", index.history_bytes);
        }
        assert_eq!(index.get("/a").unwrap().revision, 40);
        index.compact(40);
        assert_eq!(index.history_bytes, 0);
    }

    #[test]
    fn a_batch_ends_with_the_event_that_exceeds_its_bytes() {
        let mut index = Index::default();
        for _ in 0..5 {
            put(&mut index, "/a/1");
        }
        let (batch, position) = index.events("/a/", 0, 10, 10).unwrap();
        assert_eq!((batch.len(), position), (2, 2));
        let (batch, position) = index.events("/a/", 2, 10, 0).unwrap();
        assert_eq!((batch.len(), position), (1, 3));
    }
}
