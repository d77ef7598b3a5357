//! The embedded engine: one log on disk, an index in memory that serves every read.
//!
//! Writers send their writes to one committer thread. It takes all that wait, checks each against
//! the index, appends them to the log in one durable transaction, makes them visible and answers:
//! the more writers, the larger the group, and the cost of the disk's sync is shared.
//!
//! What lies on the disk beside the log `store.redb`:
//!
//! ```text
//!   store.acknowledged   the highest revision that a writer was told of
//!   store.reserve        room that deletes may use when the disk is full
//! ```

mod acknowledged;
mod committer;
mod format;
mod index;
mod log;
mod reserve;
mod watcher;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc};
use std::thread::JoinHandle;

use futures::future::BoxFuture;
use tokio::sync::{oneshot, watch};

use crate::{
    Commit, CommitError, ListOptions, Page, ReadError, Record, Revision, Store, Trouble, Watcher, Write,
};
use acknowledged::Acknowledged;
use committer::Committer;
use index::Index;
use log::Log;
pub use log::OpenError;
use reserve::Reserve;

/// How much history the engine keeps for watchers and paged lists.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Compaction keeps at least so many of the newest revisions.
    pub revisions: u64,
    /// Compaction starts when the history has grown by so many revisions beyond that.
    pub slack: u64,
    /// Compaction also starts when the values that only the history keeps take a quarter more than so many
    /// bytes, and forgets until they fit.
    pub bytes: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self { revisions: 8192, slack: 4096, bytes: 64 << 20 }
    }
}

/// The embedded store in one file.
#[derive(Debug)]
pub struct LocalStore {
    shared: Arc<Shared>,
    writes: Option<mpsc::Sender<Request>>,
    committer: Option<JoinHandle<()>>,
}

/// What the committer, the readers and the watchers see together.
#[derive(Debug)]
struct Shared {
    index: RwLock<Index>,
    head: watch::Sender<Revision>,
    /// What keeps the store from taking every write, if anything does.
    trouble: Mutex<Option<Trouble>>,
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write that waits for the committer.
struct Request {
    write: Write,
    reply: oneshot::Sender<Result<Commit, CommitError>>,
}

impl LocalStore {
    /// Opens the store in `file`, making it when it is not there.
    ///
    /// # Errors
    /// The file is in use by another process, damaged, of a newer version, lacks acknowledged writes, or
    /// cannot be read.
    pub fn open(file: &Path, retention: Retention) -> Result<Self, OpenError> {
        let reserve = Reserve::of(file);
        let opened = match Log::open(file) {
            Err(error) if error.is_disk_full() && reserve.give_up() => Log::open(file),
            opened => opened,
        };
        let (log, index) = opened?;
        let acknowledged = Acknowledged::open(file, index.head())
            .map_err(|source| OpenError::Io { file: Acknowledged::path(file), source })?;
        let (head, _) = watch::channel(index.head());
        let shared = Arc::new(Shared { index: RwLock::new(index), head, trouble: Mutex::new(None) });
        let (writes, requests) = mpsc::channel();
        let committer = Committer::new(log, acknowledged, reserve, shared.clone(), retention);
        let committer = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || committer.run(&requests))
            .map_err(OpenError::Thread)?;
        Ok(Self { shared, writes: Some(writes), committer: Some(committer) })
    }
}

impl Drop for LocalStore {
    fn drop(&mut self) {
        self.writes = None;
        if let Some(committer) = self.committer.take()
            && committer.join().is_err()
        {
            tracing::error!("the store's committer thread had panicked");
        }
    }
}

impl Store for LocalStore {
    fn revision(&self) -> Revision {
        self.shared.read().head()
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, ReadError>> {
        Box::pin(std::future::ready(Ok(self.shared.read().get(key).cloned())))
    }

    fn list<'a>(&'a self, prefix: &'a str, options: ListOptions) -> BoxFuture<'a, Result<Page, ReadError>> {
        Box::pin(std::future::ready(self.shared.read().list(prefix, &options)))
    }

    fn commit(&self, write: Write) -> BoxFuture<'_, Result<Commit, CommitError>> {
        let (reply, answer) = oneshot::channel();
        let sent = match &self.writes {
            Some(writes) => writes.send(Request { write, reply }).is_ok(),
            None => false,
        };
        Box::pin(async move {
            let stopped = || CommitError::Unavailable(Trouble::Stopped);
            if !sent {
                return Err(stopped());
            }
            answer.await.map_err(|_| stopped())?
        })
    }

    fn health(&self) -> Result<(), Trouble> {
        self.shared.trouble().map_or(Ok(()), Err)
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watcher>, ReadError> {
        let head = self.shared.head.subscribe();
        self.shared.read().check_readable(after)?;
        Ok(Box::new(watcher::LocalWatcher::new(&self.shared, head, prefix, after)))
    }
}
