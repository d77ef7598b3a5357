//! The connections of all listeners: a bounded number, of which one that says nothing leaves for a new one.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::sleep;

use super::limits::{Crowd, Peer};
use crate::memory;

/// How long a connection that was told to leave has to do so before the new one is refused.
const LEAVING: Duration = Duration::from_millis(200);
/// How often that is looked for.
const AGAIN: Duration = Duration::from_millis(5);
/// What a connection takes in memory, in bytes: its buffers and TLS.
const MEMORY: usize = 64 * 1024;

/// Everybody who has a connection, and the connections.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    crowd: Crowd,
    taken: Mutex<Vec<Weak<Seat>>>,
}

/// The place of a connection.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Who sits there, once that is known.
    peer: OnceLock<(Peer, OwnedSemaphorePermit)>,
    /// How many of its requests are being answered.
    working: AtomicU32,
    /// Since when none is, in milliseconds from some moment on.
    silent_since: AtomicU64,
    leave: Notify,
    _place: OwnedSemaphorePermit,
}

/// A request that is being answered, until the last of its answer was taken.
#[derive(Debug)]
pub(crate) struct Working(Arc<Seat>);

impl Seats {
    /// A place for a new connection. If there is none, the connection that was silent longest leaves; none if all of
    /// them work.
    pub(crate) async fn take(&self) -> Option<Arc<Seat>> {
        let place = self.or_after_one_left(|| self.crowd.connection(), |_| true).await?;
        let seat = Arc::new(Seat {
            peer: OnceLock::new(),
            working: AtomicU32::new(0),
            silent_since: AtomicU64::new(now()),
            leave: Notify::new(),
            _place: place,
        });
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() == taken.capacity() {
            taken.retain(|seat| seat.strong_count() > 0);
        }
        taken.push(Arc::downgrade(&seat));
        drop(taken);
        Some(seat)
    }

    /// Notes who sits there. The peer, or none if it has too many connections that all work.
    pub(crate) async fn seated(&self, seat: &Arc<Seat>, user: &str, address: IpAddr) -> Option<Peer> {
        let peer = self.crowd.peer(user, address);
        let own = |seat: &Seat| seat.peer.get().is_some_and(|(other, _)| other.is(&peer));
        let place = self.or_after_one_left(|| peer.connection(), own).await?;
        drop(seat.peer.set((peer.clone(), place)));
        Some(peer)
    }

    async fn or_after_one_left(
        &self,
        place: impl Fn() -> Option<OwnedSemaphorePermit>,
        of_those: impl Fn(&Seat) -> bool,
    ) -> Option<OwnedSemaphorePermit> {
        let begin = Instant::now();
        let mut told = false;
        loop {
            if let Some(place) = place() {
                return Some(place);
            }
            told = told || self.tell_one_to_leave(&of_those);
            if !told || begin.elapsed() > LEAVING {
                return None;
            }
            sleep(AGAIN).await;
        }
    }

    /// Tells the connection that was silent longest to leave, if one is silent.
    fn tell_one_to_leave(&self, of_those: impl Fn(&Seat) -> bool) -> bool {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = taken
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|seat| seat.working.load(Ordering::Acquire) == 0 && of_those(seat));
        let longest = silent.min_by_key(|seat| seat.silent_since.load(Ordering::Relaxed));
        if let Some(seat) = &longest {
            // The next one that is looked for is another.
            seat.silent_since.store(u64::MAX, Ordering::Relaxed);
            seat.leave.notify_one();
        }
        longest.is_some()
    }
}

impl Seat {
    /// A request is being answered, as long as the value lives.
    pub(crate) fn work(self: &Arc<Self>) -> Working {
        self.working.fetch_add(1, Ordering::AcqRel);
        Working(self.clone())
    }

    /// Waits until another connection needs the place, or this one has been silent for so long.
    pub(crate) async fn needed(&self, longest: Duration) {
        let silent = async {
            loop {
                let since =
                    Duration::from_millis(now().saturating_sub(self.silent_since.load(Ordering::Relaxed)));
                match longest.checked_sub(since) {
                    Some(rest) if self.working.load(Ordering::Acquire) == 0 => sleep(rest.max(AGAIN)).await,
                    None if self.working.load(Ordering::Acquire) == 0 => return,
                    _ => sleep(longest).await,
                }
            }
        };
        tokio::select! {
            () = self.leave.notified() => {}
            () = silent => {}
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        memory::released(MEMORY);
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.silent_since.store(now(), Ordering::Relaxed);
        self.0.working.fetch_sub(1, Ordering::AcqRel);
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

    fn seats(connections: usize, of_peer: usize) -> Seats {
        let limits = |connections| Limits { connections, requests: 9, long: 9, bodies: 9, answers: 9 };
        Seats { crowd: Crowd::new(limits(connections), limits(of_peer)), taken: Mutex::default() }
    }

    /// Leaves when it is told to.
    fn polite(seat: Arc<Seat>) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move { seat.needed(Duration::from_secs(3600)).await })
    }

    #[tokio::test]
    async fn who_was_silent_longest_leaves_and_who_works_stays() {
        let seats = seats(3, 3);
        let first = seats.take().await.unwrap();
        let working = first.work();
        let second = seats.take().await.unwrap();
        sleep(Duration::from_millis(3)).await;
        let third = polite(seats.take().await.unwrap());
        let second = polite(second);
        let fourth = seats.take().await.expect("the second left");
        second.await.unwrap();
        assert!(!third.is_finished());
        let fourth = fourth.work();
        third.abort();
        let others = [seats.take().await.unwrap().work()];
        assert!(seats.take().await.is_none(), "all of them work");
        drop((working, fourth, others));
    }

    #[tokio::test]
    async fn a_peer_makes_room_among_its_own() {
        let seats = seats(9, 1);
        let address = IpAddr::from([10, 0, 0, 1]);
        let (bob, jane) = (seats.take().await.unwrap(), seats.take().await.unwrap());
        seats.seated(&bob, "bob", address).await.unwrap();
        seats.seated(&jane, "jane", address).await.unwrap();
        let (bob, jane) = (polite(bob), polite(jane));
        let again = seats.take().await.unwrap();
        seats.seated(&again, "jane", address).await.expect("her first connection left");
        jane.await.unwrap();
        assert!(!bob.is_finished());
        let _working = again.work();
        let third = seats.take().await.unwrap();
        assert!(seats.seated(&third, "jane", address).await.is_none());
    }

    #[tokio::test]
    async fn who_says_nothing_for_long_leaves() {
        let seats = seats(3, 3);
        let seat = seats.take().await.unwrap();
        seat.needed(Duration::from_millis(20)).await;
        let working = seat.work();
        let longer = tokio::time::timeout(Duration::from_millis(60), seat.needed(Duration::from_millis(20)));
        assert!(longer.await.is_err(), "a watch may be quiet");
        drop(working);
    }
}
