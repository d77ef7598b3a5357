//! The connections of all listeners. Their number is bounded: an idle connection is closed to make room for a new one.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::sleep;

use super::limits::{Crowd, Peer};
use crate::memory;

/// How long a connection that must be closed has for it before the new one is refused.
const CLOSING: Duration = Duration::from_millis(200);
/// How often that is looked for.
const AGAIN: Duration = Duration::from_millis(5);
/// What a connection takes in memory, in bytes: its buffers and TLS.
const MEMORY: usize = 64 * 1024;

/// All connections, and the peers that have them.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    crowd: Crowd,
    admitted: Mutex<Vec<Weak<Connection>>>,
}

/// An open connection. Its permits are given back when the last reference is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The peer, once its user is known.
    peer: OnceLock<(Peer, OwnedSemaphorePermit)>,
    /// How many requests are being answered.
    answering: AtomicU32,
    /// Since when none is, in milliseconds since the first call of [`now`].
    idle_since: AtomicU64,
    close: Notify,
    _permit: OwnedSemaphorePermit,
}

/// A request that is being answered, until the last of its answer was admitted.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Connection>);

impl Connections {
    /// Admits a new connection. If there are as many as may be, the one that has been idle longest is closed for it;
    /// `None` if all of them are busy.
    pub(crate) async fn admit(&self) -> Option<Arc<Connection>> {
        let permit = self.or_after_closing_one(|| self.crowd.connection(), |_| true).await?;
        let connection = Arc::new(Connection {
            peer: OnceLock::new(),
            answering: AtomicU32::new(0),
            idle_since: AtomicU64::new(now()),
            close: Notify::new(),
            _permit: permit,
        });
        let mut admitted = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        if admitted.len() == admitted.capacity() {
            admitted.retain(|connection| connection.strong_count() > 0);
        }
        admitted.push(Arc::downgrade(&connection));
        drop(admitted);
        Some(connection)
    }

    /// Notes whose connection it is. Returns the peer, or `None` if it has as many connections as it may, all busy.
    pub(crate) async fn identify(
        &self,
        connection: &Arc<Connection>,
        user: &str,
        address: IpAddr,
    ) -> Option<Peer> {
        let peer = self.crowd.peer(user, address);
        let own = |connection: &Connection| connection.peer.get().is_some_and(|(other, _)| other.is(&peer));
        let permit = self.or_after_closing_one(|| peer.connection(), own).await?;
        drop(connection.peer.set((peer.clone(), permit)));
        Some(peer)
    }

    async fn or_after_closing_one(
        &self,
        permit: impl Fn() -> Option<OwnedSemaphorePermit>,
        may_close: impl Fn(&Connection) -> bool,
    ) -> Option<OwnedSemaphorePermit> {
        let begin = Instant::now();
        let mut told = false;
        loop {
            if let Some(permit) = permit() {
                return Some(permit);
            }
            told = told || self.close_idlest(&may_close);
            if !told || begin.elapsed() > CLOSING {
                return None;
            }
            sleep(AGAIN).await;
        }
    }

    /// Has the connection closed that has been idle longest. Returns whether any was idle.
    fn close_idlest(&self, may_close: impl Fn(&Connection) -> bool) -> bool {
        let admitted = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = admitted
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|connection| connection.answering.load(Ordering::Acquire) == 0 && may_close(connection));
        let longest = silent.min_by_key(|connection| connection.idle_since.load(Ordering::Relaxed));
        if let Some(connection) = &longest {
            // The next search must find another one.
            connection.idle_since.store(u64::MAX, Ordering::Relaxed);
            connection.close.notify_one();
        }
        longest.is_some()
    }
}

impl Connection {
    /// Marks the connection as busy with one request more, until the value is dropped.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.answering.fetch_add(1, Ordering::AcqRel);
        Busy(self.clone())
    }

    /// Waits until the connection must be closed: to make room for another, or since it has been idle for `longest`.
    pub(crate) async fn must_close(&self, longest: Duration) {
        let silent = async {
            loop {
                let since =
                    Duration::from_millis(now().saturating_sub(self.idle_since.load(Ordering::Relaxed)));
                match longest.checked_sub(since) {
                    Some(rest) if self.answering.load(Ordering::Acquire) == 0 => sleep(rest.max(AGAIN)).await,
                    None if self.answering.load(Ordering::Acquire) == 0 => return,
                    _ => sleep(longest).await,
                }
            }
        };
        tokio::select! {
            () = self.close.notified() => {}
            () = silent => {}
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        memory::released(MEMORY);
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
    START.get_or_init(Instant::now).elapsed().as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::limits::Limits;

    fn connections(connections: usize, of_peer: usize) -> Connections {
        let limits = |connections| Limits { connections, requests: 9, long: 9, bodies: 9, answers: 9 };
        Connections { crowd: Crowd::new(limits(connections), limits(of_peer)), admitted: Mutex::default() }
    }

    /// Leaves when it is told to.
    fn polite(connection: Arc<Connection>) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move { connection.must_close(Duration::from_secs(3600)).await })
    }

    #[tokio::test]
    async fn who_was_silent_longest_leaves_and_who_works_stays() {
        let connections = connections(3, 3);
        let first = connections.admit().await.unwrap();
        let busy = first.busy();
        let second = connections.admit().await.unwrap();
        sleep(Duration::from_millis(3)).await;
        let third = polite(connections.admit().await.unwrap());
        let second = polite(second);
        let fourth = connections.admit().await.expect("the second left");
        second.await.unwrap();
        assert!(!third.is_finished());
        let fourth = fourth.busy();
        third.abort();
        let others = [connections.admit().await.unwrap().busy()];
        assert!(connections.admit().await.is_none(), "all of them work");
        drop((busy, fourth, others));
    }

    #[tokio::test]
    async fn a_peer_makes_room_among_its_own() {
        let connections = connections(9, 1);
        let address = IpAddr::from([10, 0, 0, 1]);
        let (bob, jane) = (connections.admit().await.unwrap(), connections.admit().await.unwrap());
        connections.identify(&bob, "bob", address).await.unwrap();
        connections.identify(&jane, "jane", address).await.unwrap();
        let (bob, jane) = (polite(bob), polite(jane));
        let again = connections.admit().await.unwrap();
        connections.identify(&again, "jane", address).await.expect("her first connection left");
        jane.await.unwrap();
        assert!(!bob.is_finished());
        let _busy = again.busy();
        let third = connections.admit().await.unwrap();
        assert!(connections.identify(&third, "jane", address).await.is_none());
    }

    #[tokio::test]
    async fn who_says_nothing_for_long_leaves() {
        let connections = connections(3, 3);
        let connection = connections.admit().await.unwrap();
        connection.must_close(Duration::from_millis(20)).await;
        let busy = connection.busy();
        let longer =
            tokio::time::timeout(Duration::from_millis(60), connection.must_close(Duration::from_millis(20)));
        assert!(longer.await.is_err(), "a watch may be quiet");
        drop(busy);
    }
}
