//! The one writer: checks, appends and publishes groups of writes.
//!
//! ```text
//!            check ──► append ──► acknowledged ──► publish, answer ──► compact when it is time
//!                        │ failed: the file is closed, and opened again before the next group
//!                        └ disk full: the reserve is given up and filled again with what is left, and until
//!                          there is room only writes are taken that need no more than what they replace;
//!                          writers are answered when the reserve is filled again, since whatever a writer
//!                          does next may take the room
//! ```

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, PoisonError, mpsc};
use std::time::Duration;

use super::acknowledged::Acknowledged;
use super::format::Entry;
use super::log::{AppendError, Compaction, Log};
use super::reserve::Reserve;
use super::{Request, Retention, Shared};
use crate::{Change, Commit, CommitError, Expect, Record, Trouble, Write};

/// A group never holds more writes than this, so that the first of them does not wait too long.
const MAX_GROUP: usize = 1024;
/// A group is closed once its values have this many bytes.
const MAX_GROUP_BYTES: usize = 8 << 20;
/// The same while the disk is full: what one transaction needs must fit into the reserve.
const MAX_GROUP_BYTES_OF_RESERVE: usize = 64 << 10;
/// What has failed without anyone asking for it is tried again after this time.
const RETRY: Duration = Duration::from_secs(1);
/// While the disk is full, a changed object may grow by so many bytes: a timestamp, a finalizer's condition.
const SMALL_GROWTH: usize = 512;
/// What is kept of the history while the disk is full.
const RETENTION_OF_RESERVE: Retention = Retention { revisions: 256, slack: 64, bytes: 256 << 10 };

/// Owns the log. Everything that changes the store happens on its thread.
pub(super) struct Committer {
    file: PathBuf,
    /// None after a failed write, until the file has been opened again.
    log: Option<Log>,
    acknowledged: Acknowledged,
    reserve: Reserve,
    /// The disk has no room but the reserve.
    disk_is_full: bool,
    shared: Arc<Shared>,
    retention: Retention,
    /// A compaction has failed and must be tried again.
    owes_compaction: bool,
    /// Something was deleted since the file was last made as small as it can be.
    may_shrink: bool,
    /// What writers are told when their group ends.
    answers: Vec<(Request, Result<Commit, CommitError>)>,
}

/// A write that passed its check and waits for the disk.
struct Accepted {
    request: Request,
    previous: Option<Record>,
}

impl Committer {
    pub(super) fn new(
        log: Log,
        acknowledged: Acknowledged,
        reserve: Reserve,
        shared: Arc<Shared>,
        retention: Retention,
    ) -> Self {
        let committer = Self {
            file: log.file().to_owned(),
            log: Some(log),
            acknowledged,
            disk_is_full: !reserve.fill(),
            reserve,
            shared,
            retention,
            owes_compaction: false,
            may_shrink: true,
            answers: Vec::new(),
        };
        committer.tell(committer.disk_is_full.then_some(Trouble::DiskFull));
        committer
    }

    /// Serves requests until all their senders are gone.
    pub(super) fn run(mut self, requests: &mpsc::Receiver<Request>) {
        loop {
            let next = if self.is_sound() {
                requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                requests.recv_timeout(RETRY)
            };
            match next {
                Ok(first) => {
                    let group = self.gather(first, requests);
                    self.commit(group);
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.recover().is_ok() {
                        self.compact();
                        self.shrink();
                        self.look_for_room();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Whether nothing has failed that must be tried again.
    fn is_sound(&self) -> bool {
        self.log.is_some() && !self.disk_is_full && !self.owes_compaction
    }

    fn gather(&self, first: Request, requests: &mpsc::Receiver<Request>) -> Vec<Request> {
        let most = if self.disk_is_full { MAX_GROUP_BYTES_OF_RESERVE } else { MAX_GROUP_BYTES };
        let mut bytes = size(&first.write);
        let mut group = vec![first];
        while group.len() < MAX_GROUP && bytes < most {
            let Ok(next) = requests.try_recv() else { break };
            bytes += size(&next.write);
            group.push(next);
        }
        group
    }

    fn commit(&mut self, group: Vec<Request>) {
        self.look_for_room();
        self.try_commit(group);
        self.look_for_room();
        self.answer();
    }

    fn try_commit(&mut self, mut group: Vec<Request>) {
        loop {
            if let Err(trouble) = self.recover() {
                return self.refuse(group, &trouble);
            }
            let (accepted, entries) = self.check(group);
            if entries.is_empty() {
                return;
            }
            group = match self.append(&entries, None) {
                Ok(()) => return self.publish(accepted, entries),
                Err(AppendError::DiskFull) if self.reserve.give_up() => requests_of(accepted),
                Err(AppendError::DiskFull) => return self.refuse(requests_of(accepted), &Trouble::DiskFull),
                Err(AppendError::Other(reason)) => {
                    return self.refuse(requests_of(accepted), &Trouble::File(reason));
                }
            };
        }
    }

    /// Sorts out the writes whose expectation fails, and those for which there is no room, and gives the
    /// others their revisions. Writes of one group see each other.
    fn check(&mut self, group: Vec<Request>) -> (Vec<Accepted>, Vec<Entry>) {
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
                self.answers.push((request, Err(CommitError::Mismatch { current })));
                continue;
            }
            if self.disk_is_full && needs_room(change, current.as_ref()) {
                self.answers.push((request, Err(CommitError::Unavailable(Trouble::DiskFull))));
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
    fn append(&mut self, entries: &[Entry], compaction: Option<&Compaction>) -> Result<(), AppendError> {
        let Some(log) = &mut self.log else { return Err(AppendError::Other("it is closed".to_owned())) };
        let appended = log.append(entries, compaction);
        if let Err(error) = &appended {
            self.log = None;
            let trouble = match error {
                AppendError::DiskFull => {
                    self.disk_is_full = true;
                    Trouble::DiskFull
                }
                AppendError::Other(reason) => Trouble::File(reason.clone()),
            };
            self.tell(Some(trouble));
        }
        appended
    }

    /// Makes a durable group visible, answers its writers and compacts when it is time.
    fn publish(&mut self, accepted: Vec<Accepted>, entries: Vec<Entry>) {
        if let Some(newest) = entries.last() {
            self.acknowledge(newest.record.revision);
        }
        self.may_shrink |= entries.iter().any(|entry| entry.deleted);
        let head = {
            let mut index = self.shared.write();
            for (Accepted { request, previous }, entry) in accepted.into_iter().zip(entries) {
                index.apply(entry.record.clone(), entry.deleted);
                self.answers.push((request, Ok(Commit { record: entry.record, previous })));
            }
            index.head()
        };
        self.shared.head.send_replace(head);
        if !self.disk_is_full {
            self.answer();
        }
        self.compact();
    }

    fn refuse(&mut self, group: Vec<Request>, trouble: &Trouble) {
        let refusal = || Err(CommitError::Unavailable(trouble.clone()));
        self.answers.extend(group.into_iter().map(|request| (request, refusal())));
    }

    /// Tells writers what became of their writes. One that no longer waits has lost interest, not its write.
    fn answer(&mut self) {
        for (request, result) in self.answers.drain(..) {
            drop(request.reply.send(result));
        }
    }

    /// Without its witness the log is as durable as before; only some damage would go unnoticed.
    fn acknowledge(&mut self, revision: u64) {
        if let Err(error) = self.acknowledged.write(revision) {
            tracing::warn!(
                %error, acknowledged = self.acknowledged.revision(),
                "the store could not note what it has acknowledged"
            );
        }
    }

    /// Removes history that is beyond its bounds, first on the disk and then in the index.
    fn compact(&mut self) {
        let retention = if self.disk_is_full { &RETENTION_OF_RESERVE } else { &self.retention };
        let compaction = {
            let index = self.shared.read();
            index
                .overdue(retention)
                .map(|through| Compaction { through, superseded: index.superseded(through) })
        };
        let Some(compaction) = compaction else {
            self.owes_compaction = false;
            return;
        };
        match self.append(&[], Some(&compaction)) {
            Ok(()) => {
                self.shared.write().compact(compaction.through);
                self.owes_compaction = false;
            }
            Err(error) => {
                self.owes_compaction = true;
                if matches!(error, AppendError::DiskFull) {
                    self.reserve.give_up();
                }
            }
        }
    }

    /// While the disk is full: gives room in the file that nothing uses back to the disk.
    fn shrink(&mut self) {
        if !self.disk_is_full || !std::mem::take(&mut self.may_shrink) {
            return;
        }
        if let Some(log) = &mut self.log
            && let Err(error) = log.shrink()
        {
            tracing::warn!(%error, "the store's file could not be made smaller");
            self.log = None;
        }
    }

    /// Brings the store back to where it takes writes. After a failed write the file is opened again, and
    /// what it holds beyond the index is made visible and what it has forgotten is forgotten: those writes
    /// were reported as failed, but had reached the disk.
    fn recover(&mut self) -> Result<(), Trouble> {
        if self.log.is_some() {
            return Ok(());
        }
        let head = self.shared.read().head();
        let (log, entries) = Log::reopen(&self.file, head).map_err(|error| {
            let trouble = Trouble::File(error.to_string());
            self.tell(Some(trouble.clone()));
            trouble
        })?;
        let mut index = self.shared.write();
        for entry in entries {
            index.apply(entry.record, entry.deleted);
        }
        index.compact(log.compacted());
        self.shared.head.send_replace(index.head());
        drop(index);
        self.log = Some(log);
        self.tell(self.disk_is_full.then_some(Trouble::DiskFull));
        Ok(())
    }

    /// While the disk is full: holds what room there is, and sees whether there is enough again.
    fn look_for_room(&mut self) {
        if self.disk_is_full && self.reserve.fill() {
            self.disk_is_full = false;
            if self.log.is_some() {
                self.tell(None);
            }
        }
    }

    /// Tells readiness checks what is wrong, and the log when that changes.
    fn tell(&self, trouble: Option<Trouble>) {
        let mut told = self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != trouble {
            let file = self.file.display();
            match &trouble {
                Some(trouble) => tracing::error!(%file, "the store does not take all writes: {trouble}"),
                None => tracing::info!(%file, "the store takes all writes again"),
            }
            *told = trouble;
        }
    }
}

/// Whether a change leaves more on the disk than there was, once the history is compacted.
fn needs_room(change: &Change, current: Option<&Record>) -> bool {
    match (change, current) {
        (Change::Delete(_), _) => false,
        (Change::Put(_), None) => true,
        (Change::Put(draft), Some(current)) => draft.max_len() > current.value.len() + SMALL_GROWTH,
    }
}

fn size(write: &Write) -> usize {
    match &write.change {
        Change::Put(draft) | Change::Delete(draft) => draft.max_len(),
    }
}

fn requests_of(accepted: Vec<Accepted>) -> Vec<Request> {
    accepted.into_iter().map(|accepted| accepted.request).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Mutex, RwLock};

    use tokio::sync::{oneshot, watch};

    use super::*;
    use crate::Draft;
    use crate::local::index::Index;

    const KEEP_ALL: Retention = Retention { revisions: u64::MAX, slack: 0, bytes: usize::MAX };
    const KEEP_NOTHING: Retention = Retention { revisions: 0, slack: 1, bytes: 0 };

    fn committer(file: &Path) -> Committer {
        let (log, index) = Log::open(file).unwrap();
        let acknowledged = Acknowledged::open(file, index.head()).unwrap();
        let head = watch::channel(index.head()).0;
        let shared = Shared { index: RwLock::new(index), head, trouble: Mutex::new(None) };
        Committer::new(log, acknowledged, Reserve::of(file), Arc::new(shared), KEEP_ALL)
    }

    fn write(committer: &mut Committer, key: &str, change: Change, expect: Expect) -> u64 {
        let (reply, mut answer) = oneshot::channel();
        committer.commit(vec![Request { write: Write { key: key.into(), change, expect }, reply }]);
        answer.try_recv().unwrap().unwrap().record.revision
    }

    fn state(index: &Index) -> (u64, u64, bool) {
        (index.head(), index.superseded(u64::MAX).len() as u64, index.get("/a").is_some())
    }

    #[test]
    fn what_was_deleted_after_a_compaction_failed_does_not_rise_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.redb");
        let mut committer = committer(&file);
        let draft = || Draft::plain("x");
        let first = write(&mut committer, "/a", Change::Put(draft()), Expect::Absent);
        let second = write(&mut committer, "/a", Change::Put(draft()), Expect::Revision(first));
        committer.retention = KEEP_NOTHING;
        committer.log = None;
        committer.compact();
        assert!(committer.owes_compaction, "a compaction that failed is tried again");
        assert_eq!(state(&committer.shared.read()), (2, 1, true), "what is on the disk is not forgotten");
        committer.recover().unwrap();
        committer.compact();
        assert!(!committer.owes_compaction);
        write(&mut committer, "/a", Change::Delete(draft()), Expect::Revision(second));
        let before = state(&committer.shared.read());
        assert_eq!(before, (3, 0, false));
        drop(committer);
        let (_, index) = Log::open(&file).unwrap();
        assert_eq!(state(&index), before, "the file holds what the index held");
    }

    #[test]
    fn what_reached_the_disk_although_it_was_refused_is_shown_and_what_was_removed_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.redb");
        let mut committer = committer(&file);
        let first = write(&mut committer, "/a", Change::Put(Draft::plain("x")), Expect::Absent);
        let record = Record { key: "/b".into(), revision: first + 1, value: "y".into() };
        let compaction = Compaction { through: first, superseded: Vec::new() };
        committer.append(&[Entry { record, deleted: false }], Some(&compaction)).unwrap();
        committer.log = None;
        committer.recover().unwrap();
        let index = committer.shared.read();
        assert_eq!(index.get("/b").map(|record| record.revision), Some(first + 1));
        assert!(index.check_readable(0).is_err() && index.check_readable(first).is_ok());
    }
}
