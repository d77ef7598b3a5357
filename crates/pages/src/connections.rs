//! The connections of a listener. Their number is bounded: an idle connection is closed to make room for a new one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How often an idle connection is looked for while all of them are busy.
const AGAIN: Duration = Duration::from_millis(10);

/// The connections of a listener, at most a fixed number.
#[derive(Debug)]
pub struct Connections {
    count: usize,
    permits: Arc<Semaphore>,
    /// Open connections, each with the time since which it was idle when it was put here: roughly in that order.
    admitted: VecDeque<(u64, Weak<Connection>)>,
}

/// An open connection. Its permit is given back when the last reference is dropped.
#[derive(Debug)]
pub struct Connection {
    /// How many requests are being answered.
    answering: AtomicU32,
    /// Since when none is, in microseconds since the first call of [`now`].
    idle_since: AtomicU64,
    close: Notify,
    _permit: OwnedSemaphorePermit,
}

/// A request that is being answered.
#[derive(Debug)]
pub struct Busy(Arc<Connection>);

impl Connections {
    /// Room for `count` connections.
    pub fn new(count: usize) -> Self {
        Self { count, permits: Arc::new(Semaphore::new(count)), admitted: VecDeque::new() }
    }

    /// Admits a new connection. If there are as many as may be, the one that has been idle longest is closed for it;
    /// waits while all of them are busy. Returns the connection, and whether one had to be closed.
    pub async fn admit(&mut self) -> (Arc<Connection>, bool) {
        let mut was_full = false;
        let permit = loop {
            if let Ok(permit) = self.permits.clone().try_acquire_owned() {
                break permit;
            }
            was_full = true;
            self.close_idlest();
            if let Ok(Ok(permit)) = timeout(AGAIN, self.permits.clone().acquire_owned()).await {
                break permit;
            }
        };
        let since = now();
        let connection = Arc::new(Connection {
            answering: AtomicU32::new(0),
            idle_since: AtomicU64::new(since),
            close: Notify::new(),
            _permit: permit,
        });
        self.admitted.push_back((since, Arc::downgrade(&connection)));
        if self.admitted.len() > 2 * self.count {
            self.admitted.retain(|(_, connection)| connection.strong_count() > 0);
        }
        (connection, was_full)
    }

    /// Has the connection closed that has been idle longest.
    fn close_idlest(&mut self) {
        for _ in 0..2 * self.admitted.len() {
            let Some((known, weak)) = self.admitted.pop_front() else { return };
            let Some(connection) = weak.upgrade() else { continue };
            let since = connection.idle_since.load(Ordering::Relaxed);
            if connection.answering.load(Ordering::Acquire) == 0 && since == known {
                return connection.close.notify_one();
            }
            // It was busy since it was put here, or is now.
            self.admitted.push_back((since, weak));
        }
    }
}

impl Connection {
    /// Marks the connection as busy with one request more, until the value is dropped.
    pub fn busy(self: &Arc<Self>) -> Busy {
        self.answering.fetch_add(1, Ordering::AcqRel);
        Busy(self.clone())
    }

    /// Waits until the connection must be closed to make room for another.
    pub async fn must_close(&self) {
        self.close.notified().await;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.idle_since.store(now(), Ordering::Relaxed);
        self.0.answering.fetch_sub(1, Ordering::AcqRel);
    }
}

fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_connection_that_was_idle_longest_is_closed_and_busy_ones_stay() {
        let mut connections = Connections::new(100);
        let mut admitted = Vec::new();
        for _ in 0..100 {
            let (connection, was_full) = connections.admit().await;
            assert!(!was_full);
            admitted.push(connection);
        }
        let working = admitted[0].busy();
        // It was busy after all others.
        drop(admitted[1].busy());
        let leaver = admitted.remove(2);
        let left = tokio::spawn(async move { leaver.must_close().await });
        assert!(connections.admit().await.1);
        left.await.unwrap();
        drop(working);
        for connection in &admitted {
            assert!(timeout(Duration::from_millis(1), connection.must_close()).await.is_err());
        }
    }
}
