//! Keys that wait for work: each once, none by two workers at a time, failed ones again later. Work that panics has
//! failed: no object, whatever it says, ends the work on the others.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Display;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// The first pause after a failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// No key is put off for longer, whatever number of seconds an object names: what every clock can add.
const FARTHEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
/// How many keys of one queue are worked on at a time.
const WORKERS: usize = 5;

/// A set of keys in the order of their arrival.
#[derive(Debug)]
pub(crate) struct Queue<K> {
    state: Mutex<State<K>>,
    wake: Notify,
}

#[derive(Debug)]
struct State<K> {
    ready: VecDeque<K>,
    queued: HashSet<K>,
    active: HashSet<K>,
    /// Keys that were added while they were worked on.
    again: HashSet<K>,
    delayed: BTreeSet<(Instant, K)>,
    failures: HashMap<K, u32>,
}

impl<K: Clone + Ord + Hash> Default for Queue<K> {
    fn default() -> Self {
        let state = State {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            active: HashSet::new(),
            again: HashSet::new(),
            delayed: BTreeSet::new(),
            failures: HashMap::new(),
        };
        Self { state: Mutex::new(state), wake: Notify::new() }
    }
}

impl<K: Clone + Ord + Hash> State<K> {
    fn add(&mut self, key: K) {
        if self.active.contains(&key) {
            self.again.insert(key);
        } else if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    /// Adds a key after `pause`.
    fn delay(&mut self, key: K, pause: Duration) {
        self.delayed.insert((Instant::now() + pause.min(FARTHEST), key));
    }

    /// Moves what is due to the ready keys; says when the next one will be.
    fn release(&mut self, now: Instant) -> Option<Instant> {
        while let Some((due, _)) = self.delayed.first() {
            if *due > now {
                return Some(*due);
            }
            if let Some((_, key)) = self.delayed.pop_first() {
                self.add(key);
            }
        }
        None
    }
}

impl<K: Clone + Ord + Hash + Display> Queue<K> {
    /// Adds a key; one that already waits is not added twice.
    pub(crate) fn add(&self, key: K) {
        self.lock().add(key);
        self.wake.notify_one();
    }

    /// Adds a key after some time.
    pub(crate) fn add_after(&self, key: K, pause: Duration) {
        self.lock().delay(key, pause);
        self.wake.notify_one();
    }

    /// Works on keys for ever. A failure is tried again after a growing pause, and so is work that panics.
    pub(crate) async fn work<F, E>(&self, name: &str, reconcile: impl Fn(K) -> F)
    where
        F: Future<Output = Result<(), E>>,
        E: Display,
    {
        let mut running = FuturesUnordered::new();
        loop {
            let due = {
                let mut state = self.lock();
                let due = state.release(Instant::now());
                while running.len() < WORKERS
                    && let Some(key) = state.ready.pop_front()
                {
                    state.queued.remove(&key);
                    state.active.insert(key.clone());
                    let (reconcile, again) = (&reconcile, key.clone());
                    // What is shared between keys is locked for whole changes only, and its locks outlive a panic.
                    let work = AssertUnwindSafe(async move { reconcile(again).await }).catch_unwind();
                    running.push(async move { (key, work.await) });
                }
                due
            };
            tokio::select! {
                () = self.wake.notified() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                Some((key, result)) = running.next() => self.done(name, key, result),
            }
        }
    }

    fn done<E: Display>(&self, name: &str, key: K, result: std::thread::Result<Result<(), E>>) {
        let mut state = self.lock();
        state.active.remove(&key);
        let failure = match result {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(panic) => {
                let error = panicked(panic.as_ref());
                tracing::error!(controller = name, %key, %error, "a fault of this program");
                Some(error)
            }
        };
        match failure {
            None => {
                state.failures.remove(&key);
            }
            Some(error) => {
                let failures = state.failures.entry(key.clone()).or_default();
                let pause = FIRST_PAUSE.saturating_mul(1 << (*failures).min(20)).min(LONGEST_PAUSE);
                *failures = failures.saturating_add(1);
                if *failures > 5 {
                    tracing::warn!(controller = name, %key, %error, "still failing, tried again in {pause:?}");
                } else {
                    tracing::debug!(controller = name, %key, %error, "failed, tried again in {pause:?}");
                }
                state.delay(key.clone(), pause);
            }
        }
        if state.again.remove(&key) {
            state.add(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    format!("the work panicked: {}", text.unwrap_or("no reason is known"))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    async fn work_until_idle<F: Future<Output = Result<(), String>>>(
        queue: &Queue<String>,
        reconcile: impl Fn(String) -> F,
    ) {
        drop(tokio::time::timeout(Duration::from_secs(1), queue.work("test", reconcile)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_however_often_it_is_added() {
        let queue = Queue::default();
        for _ in 0..3 {
            queue.add("a".to_owned());
        }
        let runs = Cell::new(0);
        work_until_idle(&queue, |_| async {
            runs.set(runs.get() + 1);
            Ok(())
        })
        .await;
        assert_eq!(runs.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_changes_while_it_is_worked_on_is_worked_on_again() {
        let queue = Queue::default();
        queue.add("a".to_owned());
        let active = Cell::new(0);
        let runs = Cell::new(0);
        work_until_idle(&queue, |key| {
            let (queue, active, runs) = (&queue, &active, &runs);
            async move {
                active.set(active.get() + 1);
                assert_eq!(active.get(), 1, "one key must not be worked on twice at a time");
                if runs.get() == 0 {
                    queue.add(key);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                runs.set(runs.get() + 1);
                active.set(active.get() - 1);
                Ok(())
            }
        })
        .await;
        assert_eq!(runs.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_tried_again_after_a_growing_pause() {
        let queue = Queue::default();
        queue.add("a".to_owned());
        let (start, times) = (Instant::now(), RefCell::new(Vec::new()));
        work_until_idle(&queue, |_| {
            times.borrow_mut().push(start.elapsed().as_millis());
            let failed = times.borrow().len() < 4;
            async move { if failed { Err("no".to_owned()) } else { Ok(()) } }
        })
        .await;
        assert_eq!(times.into_inner(), [0, 5, 15, 35]);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_panics_is_tried_again_and_ends_no_other() {
        let queue = Queue::default();
        queue.add("bad".to_owned());
        queue.add("good".to_owned());
        let (bad, good) = (Cell::new(0), Cell::new(0));
        work_until_idle(&queue, |key| {
            let runs = if key == "bad" { &bad } else { &good };
            runs.set(runs.get() + 1);
            async move { if key == "bad" { panic!("on purpose") } else { Ok(()) } }
        })
        .await;
        assert_eq!(good.get(), 1);
        assert!((2..20).contains(&bad.get()), "{} times", bad.get());
    }
}
