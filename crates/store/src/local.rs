//! The embedded engine: one log on disk, an index in memory that serves every read.
//!
//! Writers send their writes to one committer thread. It takes all that wait, checks each against
//! the index, appends them to the log in one durable transaction, makes them visible and answers:
//! the more writers, the larger the group, and the cost of the disk's sync is shared.

mod committer;
mod index;
mod log;
mod watcher;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc};
use std::thread::JoinHandle;

use futures::future::BoxFuture;
use tokio::sync::{oneshot, watch};

use crate::{Commit, CommitError, ListOptions, Page, ReadError, Record, Revision, Store, Watcher, Write};
use committer::Committer;
use index::Index;
use log::Log;
pub use log::OpenError;

/// How much history the engine keeps for watchers and paged lists.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Compaction keeps at least so many of the newest revisions.
    pub revisions: u64,
    /// Compaction starts when the history has grown by so many revisions beyond that.
    pub slack: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { revisions: 8192, slack: 4096 }
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
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
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
    /// The file is in use by another process, damaged, of another version, or cannot be read.
    pub fn open(file: &Path, retention: Retention) -> Result<Self, OpenError> {
        let (log, index) = Log::open(file)?;
        let (head, _) = watch::channel(index.head());
        let shared = Arc::new(Shared { index: RwLock::new(index), head });
        let (writes, requests) = mpsc::channel();
        let committer = Committer::new(log, shared.clone(), retention);
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
            let stopped = || CommitError::Unavailable("its committer has stopped".to_owned());
            if !sent {
                return Err(stopped());
            }
            answer.await.map_err(|_| stopped())?
        })
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Box<dyn Watcher>, ReadError> {
        let head = self.shared.head.subscribe();
        self.shared.read().check_readable(after)?;
        Ok(Box::new(watcher::LocalWatcher::new(&self.shared, head, prefix, after)))
    }
}
