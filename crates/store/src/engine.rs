//! What every engine offers: the [`Store`] trait and its vocabulary.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::Draft;

/// A place in the log. The first write of a store has revision 1; 0 is the empty store.
pub type Revision = u64;

/// The state of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key, for example `/registry/services/default/web`.
    pub key: Arc<str>,
    /// The revision of the write that gave the key this value.
    pub revision: Revision,
    /// The value as the writer's [`Draft`] finished it.
    pub value: Bytes,
}

/// What a write does to its key.
#[derive(Clone, Debug)]
pub enum Change {
    /// The key gets this value.
    Put(Draft),
    /// The key goes. The draft is the last state that watchers are shown.
    Delete(Draft),
}

/// What must hold of the key for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key exists and was last written at this revision.
    Revision(Revision),
}

/// One conditional write.
#[derive(Clone, Debug)]
pub struct Write {
    /// The key to change.
    pub key: Arc<str>,
    /// The change to make.
    pub change: Change,
    /// The state the key must be in.
    pub expect: Expect,
}

/// An acknowledged write.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The new record; of a deletion, the last state that watchers are shown.
    pub record: Record,
    /// What the key held before.
    pub previous: Option<Record>,
}

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The key is not in the expected state; nothing was written.
    #[error("the key has changed: it is {}", match current { Some(r) => format!("at revision {}", r.revision), None => "absent".to_owned() })]
    Mismatch {
        /// What the key holds instead.
        current: Option<Record>,
    },
    /// The write could not be made durable. It did not happen as far as any reader can tell.
    #[error("the store could not write: {0}")]
    Unavailable(#[from] Trouble),
}

/// What keeps a store from taking every write. Reads are answered meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Only deletes and changes that need no more room than what they replace are taken.
    #[error(
        "the disk is full; objects can be deleted, and be changed as long as they do not grow. Delete objects, or make room on the disk"
    )]
    DiskFull,
    /// No write is taken; the file is opened again and again until it can be used.
    #[error("its file cannot be written: {0}")]
    File(String),
    /// The engine has stopped.
    #[error("it has stopped")]
    Stopped,
}

/// Why a read could not be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The history before `oldest` has been compacted away; read the present state instead.
    #[error("too old resource version: {requested} ({oldest})")]
    TooOld {
        /// The revision that was asked for.
        requested: Revision,
        /// The oldest revision that can still be read.
        oldest: Revision,
    },
    /// The revision lies in the future.
    #[error("too large resource version: {requested}, current: {current}")]
    TooNew {
        /// The revision that was asked for.
        requested: Revision,
        /// The newest revision there is.
        current: Revision,
    },
    /// The engine has stopped.
    #[error("the store has been closed")]
    Closed,
}

/// Which part of a prefix to list.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Only keys that sort after this one.
    pub after: Option<String>,
    /// At most so many records; 0 is no limit.
    pub limit: usize,
    /// The state at this revision instead of the newest.
    pub at: Option<Revision>,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The records in the order of their keys.
    pub records: Vec<Record>,
    /// How many records follow this page.
    pub remaining: usize,
    /// The revision whose state this is.
    pub revision: Revision,
}

/// One change, as watchers see it.
#[derive(Clone, Debug)]
pub struct Event {
    /// The key's new record; of a deletion, the last state with the revision of the deletion.
    pub record: Record,
    /// Whether the key went.
    pub deleted: bool,
    /// What the key held before: none for a creation.
    pub previous: Option<Record>,
}

/// Changes in the order of their revisions.
pub type Batch = Vec<Arc<Event>>;

/// A reader of the log from a given revision on, for one prefix.
pub trait Watcher: Send {
    /// The next changes, at least one. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ReadError::TooOld`] when the reader has fallen behind compaction, [`ReadError::Closed`]
    /// when the engine stops.
    fn next(&mut self) -> BoxFuture<'_, Result<Batch, ReadError>>;

    /// All changes up to this revision have been returned by [`Watcher::next`].
    fn progress(&self) -> Revision;
}

/// A log of revisions with a present state.
pub trait Store: Send + Sync + 'static {
    /// The newest revision.
    fn revision(&self) -> Revision;

    /// What `key` holds now.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, ReadError>>;

    /// The records whose keys start with `prefix`.
    fn list<'a>(&'a self, prefix: &'a str, options: ListOptions) -> BoxFuture<'a, Result<Page, ReadError>>;

    /// Makes one write and waits until it is durable. Dropping the future does not undo the write.
    fn commit(&self, write: Write) -> BoxFuture<'_, Result<Commit, CommitError>>;

    /// Whether every write would be taken now.
    ///
    /// # Errors
    /// What keeps the store from it.
    fn health(&self) -> Result<(), Trouble>;

    /// The changes after revision `after` of keys that start with `prefix`.
    ///
    /// # Errors
    /// [`ReadError::TooOld`] when `after` lies before the kept history.
    fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watcher>, ReadError>;
}
