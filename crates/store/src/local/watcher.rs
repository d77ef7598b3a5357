//! A reader of the history. It holds a place in it and nothing else: a slow watcher costs no memory.

use std::sync::{Arc, Weak};

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::Shared;
use crate::{Batch, ReadError, Revision, Watcher};

/// At most so many events are handed over at once.
const MAX_BATCH: usize = 512;
/// A batch ends with the event that exceeds so many bytes.
const MAX_BATCH_BYTES: usize = 1 << 20;

pub(super) struct LocalWatcher {
    shared: Weak<Shared>,
    head: watch::Receiver<Revision>,
    prefix: Box<str>,
    position: Revision,
}

impl LocalWatcher {
    pub(super) fn new(
        shared: &Arc<Shared>,
        head: watch::Receiver<Revision>,
        prefix: &str,
        after: Revision,
    ) -> Self {
        Self { shared: Arc::downgrade(shared), head, prefix: prefix.into(), position: after }
    }

    /// Reads what is there now.
    fn read(&mut self) -> Result<Batch, ReadError> {
        let shared = self.shared.upgrade().ok_or(ReadError::Closed)?;
        let (batch, position) =
            shared.read().events(&self.prefix, self.position, MAX_BATCH, MAX_BATCH_BYTES)?;
        self.position = position;
        Ok(batch)
    }
}

impl Watcher for LocalWatcher {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch, ReadError>> {
        Box::pin(async move {
            loop {
                self.head.borrow_and_update();
                let batch = self.read()?;
                if !batch.is_empty() {
                    return Ok(batch);
                }
                self.head.changed().await.map_err(|_| ReadError::Closed)?;
            }
        })
    }

    fn progress(&self) -> Revision {
        self.position
    }
}
