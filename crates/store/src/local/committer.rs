//! The one writer: checks, appends and publishes groups of writes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use super::log::{Entry, Log};
use super::{Request, Retention, Shared};
use crate::{Change, Commit, CommitError, Expect, Record, Revision, Write};

/// A group never holds more writes than this, so that the first of them does not wait too long.
const MAX_GROUP: usize = 1024;
/// A group is closed once its values have this many bytes.
const MAX_GROUP_BYTES: usize = 8 << 20;

/// Owns the log. Everything that changes the store happens on its thread.
pub(super) struct Committer {
    file: PathBuf,
    /// None after a failed write, until the file has been opened again.
    log: Option<Log>,
    shared: Arc<Shared>,
    retention: Retention,
}

/// A write that passed its check and waits for the disk.
struct Accepted {
    request: Request,
    previous: Option<Record>,
}

impl Committer {
    pub(super) fn new(log: Log, shared: Arc<Shared>, retention: Retention) -> Self {
        Self { file: log.file().to_owned(), log: Some(log), shared, retention }
    }

    /// Serves requests until all their senders are gone.
    pub(super) fn run(mut self, requests: &mpsc::Receiver<Request>) {
        while let Ok(first) = requests.recv() {
            let mut bytes = size(&first.write);
            let mut group = vec![first];
            while group.len() < MAX_GROUP && bytes < MAX_GROUP_BYTES {
                let Ok(next) = requests.try_recv() else { break };
                bytes += size(&next.write);
                group.push(next);
            }
            self.commit(group);
        }
    }

    fn commit(&mut self, group: Vec<Request>) {
        if let Err(reason) = self.recover() {
            for request in group {
                answer(request, Err(CommitError::Unavailable(reason.clone())));
            }
            return;
        }
        let (accepted, entries) = self.check(group);
        if entries.is_empty() {
            return;
        }
        match self.append(&entries, None) {
            Ok(()) => self.publish(accepted, entries),
            Err(reason) => {
                for accepted in accepted {
                    answer(accepted.request, Err(CommitError::Unavailable(reason.clone())));
                }
            }
        }
    }

    /// Sorts out the writes whose expectation fails and gives the others their revisions. Writes of
    /// one group see each other.
    fn check(&self, group: Vec<Request>) -> (Vec<Accepted>, Vec<Entry>) {
        let index = self.shared.read();
        let mut overlay: HashMap<Arc<str>, Option<Record>> = HashMap::new();
        let (mut accepted, mut entries) = (Vec::new(), Vec::new());
        let mut revision = index.head();
        for request in group {
            let Write { key, change, expect } = &request.write;
            let current = match overlay.get(key) {
                Some(pending) => pending.clone(),
                None => index.get(key).cloned(),
            };
            let as_expected = match expect {
                Expect::Absent => current.is_none(),
                Expect::Revision(wanted) => current.as_ref().is_some_and(|r| r.revision == *wanted),
            };
            if !as_expected {
                answer(request, Err(CommitError::Mismatch { current }));
                continue;
            }
            revision += 1;
            let (draft, deleted) = match change {
                Change::Put(draft) => (draft, false),
                Change::Delete(draft) => (draft, true),
            };
            let record = Record { key: key.clone(), revision, value: draft.finish(revision) };
            overlay.insert(key.clone(), (!deleted).then(|| record.clone()));
            entries.push(Entry { record, deleted });
            accepted.push(Accepted { request, previous: current });
        }
        (accepted, entries)
    }

    /// Writes to the log; a failure closes it, since what the library then holds is unknown.
    fn append(
        &mut self,
        entries: &[Entry],
        compaction: Option<(Revision, &[Revision])>,
    ) -> Result<(), String> {
        let Some(log) = &self.log else { return Err("its file is closed".to_owned()) };
        log.append(entries, compaction).map_err(|error| {
            tracing::error!(%error, "the store could not write its file");
            self.log = None;
            error.to_string()
        })
    }

    /// Makes a durable group visible, answers its writers and compacts when it is time.
    fn publish(&mut self, accepted: Vec<Accepted>, entries: Vec<Entry>) {
        let mut commits = Vec::with_capacity(accepted.len());
        let head = {
            let mut index = self.shared.write();
            for (Accepted { request, previous }, entry) in accepted.into_iter().zip(entries) {
                index.apply(entry.record.clone(), entry.deleted);
                commits.push((request, Commit { record: entry.record, previous }));
            }
            index.head()
        };
        self.shared.head.send_replace(head);
        for (request, commit) in commits {
            answer(request, Ok(commit));
        }
        self.compact(head);
    }

    fn compact(&mut self, head: Revision) {
        let Retention { revisions, slack } = self.retention;
        if head - self.shared.read().compacted() < revisions.saturating_add(slack) {
            return;
        }
        let through = head - revisions;
        let superseded = self.shared.write().compact(through);
        // A failure is logged and loses nothing: replay passes over superseded records.
        drop(self.append(&[], Some((through, &superseded))));
    }

    /// After a failed write the file is opened again before the next one, and what it holds beyond
    /// the index is made visible: those writes were reported as failed, but had reached the disk.
    fn recover(&mut self) -> Result<(), String> {
        if self.log.is_some() {
            return Ok(());
        }
        let head = self.shared.read().head();
        let (log, entries) = Log::reopen(&self.file, head).map_err(|error| error.to_string())?;
        self.log = Some(log);
        if !entries.is_empty() {
            let mut index = self.shared.write();
            for entry in entries {
                index.apply(entry.record, entry.deleted);
            }
            self.shared.head.send_replace(index.head());
        }
        Ok(())
    }
}

fn size(write: &Write) -> usize {
    match &write.change {
        Change::Put(draft) | Change::Delete(draft) => draft.max_len(),
    }
}

/// A writer that no longer waits has lost interest, not its write.
fn answer(request: Request, result: Result<Commit, CommitError>) {
    drop(request.reply.send(result));
}
