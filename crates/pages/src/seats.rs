//! The connections of a listener: a bounded number, of which one that says nothing leaves for a new one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// When a place is looked for again while all connections work.
const AGAIN: Duration = Duration::from_millis(10);

/// Places for connections.
#[derive(Debug)]
pub struct Seats {
    count: usize,
    places: Arc<Semaphore>,
    /// Those that were taken, with since when they were silent at that time: more or less in that order.
    taken: VecDeque<(u64, Weak<Seat>)>,
}

/// The place of a connection.
#[derive(Debug)]
pub struct Seat {
    /// How many of its questions are being answered.
    working: AtomicU32,
    /// Since when none is, in microseconds from some moment on.
    silent_since: AtomicU64,
    leave: Notify,
    _place: OwnedSemaphorePermit,
}

/// A question that is being answered.
#[derive(Debug)]
pub struct Working(Arc<Seat>);

impl Seats {
    /// So many places, all of them free.
    pub fn new(count: usize) -> Self {
        Self { count, places: Arc::new(Semaphore::new(count)), taken: VecDeque::new() }
    }

    /// A place for a new connection. If there is none, the connection that was silent longest has to leave; waits
    /// while all of them work. Tells whether there was none.
    pub async fn take(&mut self) -> (Arc<Seat>, bool) {
        let mut crowded = false;
        let place = loop {
            if let Ok(place) = self.places.clone().try_acquire_owned() {
                break place;
            }
            crowded = true;
            self.free_one();
            if let Ok(Ok(place)) = timeout(AGAIN, self.places.clone().acquire_owned()).await {
                break place;
            }
        };
        let since = now();
        let seat = Arc::new(Seat {
            working: AtomicU32::new(0),
            silent_since: AtomicU64::new(since),
            leave: Notify::new(),
            _place: place,
        });
        self.taken.push_back((since, Arc::downgrade(&seat)));
        if self.taken.len() > 2 * self.count {
            self.taken.retain(|(_, seat)| seat.strong_count() > 0);
        }
        (seat, crowded)
    }

    /// Tells the connection that was silent longest to leave.
    fn free_one(&mut self) {
        for _ in 0..2 * self.taken.len() {
            let Some((known, weak)) = self.taken.pop_front() else { return };
            let Some(seat) = weak.upgrade() else { continue };
            let since = seat.silent_since.load(Ordering::Relaxed);
            if seat.working.load(Ordering::Acquire) == 0 && since == known {
                return seat.leave.notify_one();
            }
            // It has spoken since it was looked at last, or does now.
            self.taken.push_back((since, weak));
        }
    }
}

impl Seat {
    /// A question is being answered, as long as the value lives.
    pub fn work(self: &Arc<Self>) -> Working {
        self.working.fetch_add(1, Ordering::AcqRel);
        Working(self.clone())
    }

    /// Waits until another connection needs the place.
    pub async fn needed(&self) {
        self.leave.notified().await;
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
    START.get_or_init(Instant::now).elapsed().as_micros() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_was_silent_longest_leaves_and_who_works_stays() {
        let mut seats = Seats::new(100);
        let mut taken = Vec::new();
        for _ in 0..100 {
            let (seat, crowded) = seats.take().await;
            assert!(!crowded);
            taken.push(seat);
        }
        let working = taken[0].work();
        // It spoke after all others.
        drop(taken[1].work());
        let leaver = taken.remove(2);
        let left = tokio::spawn(async move { leaver.needed().await });
        assert!(seats.take().await.1);
        left.await.unwrap();
        drop(working);
        for seat in &taken {
            assert!(timeout(Duration::from_millis(1), seat.needed()).await.is_err());
        }
    }
}
