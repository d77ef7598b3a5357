//! A limit on the files that the userspace proxy has open, so that some are left for the rest of the process.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The limit where the process has none.
const MOST: u64 = 1 << 20;
/// How often a shortage is logged at most.
const PAUSE: Duration = Duration::from_secs(60);

/// A share of the files that the proxy may have open. Given back when dropped.
pub(super) type Permit = OwnedSemaphorePermit;

/// How many files the proxy may have open.
#[derive(Debug)]
pub(super) struct FileLimit {
    left: Arc<Semaphore>,
    all: u32,
    /// When a shortage was logged last.
    logged: Mutex<Option<Instant>>,
}

impl FileLimit {
    /// Three quarters of what the process may have. Its limit is raised as far as it may do that by itself
    /// (getrlimit(2)).
    pub(super) fn of_process() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        let files = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit.maximum,
            Err(_) => limit.current,
        };
        Self::of(files.unwrap_or(MOST).min(MOST) / 4 * 3)
    }

    pub(super) fn of(files: u64) -> Self {
        let all = u32::try_from(files).unwrap_or(u32::MAX);
        Self { left: Arc::new(Semaphore::new(all as usize)), all, logged: Mutex::new(None) }
    }

    /// Leave to open this many files; `None`, and a line in the log, if there are not so many left.
    pub(super) fn take(&self, files: u32) -> Option<Permit> {
        let permit = self.left.clone().try_acquire_many_owned(files).ok();
        if permit.is_none() {
            self.is_short(&io::Error::from(rustix::io::Errno::MFILE));
        }
        permit
    }

    /// Waits until nothing is open.
    pub(super) async fn all_given_back(&self) {
        // The semaphore is never closed.
        let _ = self.left.acquire_many(self.all).await;
    }

    /// Logs a shortage, but not each time.
    pub(super) fn is_short(&self, error: &io::Error) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|at| at.elapsed() >= PAUSE) {
            *logged = Some(Instant::now());
            tracing::error!(
                %error,
                "connections are refused: the proxy has as many files open as it may; raise the limit (ulimit -n, LimitNOFILE) or use the mode nftables"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let file_limit = FileLimit::of(5);
        let permit = file_limit.take(4);
        assert!(permit.is_some() && file_limit.take(4).is_none());
        drop(permit);
        assert!(file_limit.take(4).is_some());
    }
}
