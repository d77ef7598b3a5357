//! The entries of a cache: a bounded number of replies, read without a lock.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use papaya::{HashMap, LocalGuard};

use super::reply::UpstreamReply;

/// The bytes that a store may take for each entry that it may have. Nearly all replies are smaller.
const BYTES_EACH: usize = 1024;
/// The memory in bytes that the maps take for an entry.
const OVERHEAD: usize = 128;
/// The number of entries among which the one to be removed is chosen.
const CANDIDATES: usize = 4;

/// A reply in the cache, and its age.
#[derive(Debug)]
pub(super) struct CacheEntry {
    pub(super) reply: Arc<UpstreamReply>,
    /// The TTL, in seconds.
    pub(super) life: u32,
    born: Instant,
    /// Whether a newer reply in the other store (positive or negative) has replaced it.
    retired: AtomicBool,
    /// Whether its question is being asked again.
    refreshing: AtomicBool,
    /// The number of queries for it without a long pause between them.
    hits: AtomicU32,
    /// The time of the last query for it, in seconds after `born`.
    last: AtomicU32,
}

impl CacheEntry {
    /// The entry of a reply that came at `born`.
    pub(super) fn new(reply: Arc<UpstreamReply>, life: u32, born: Instant) -> Self {
        Self {
            reply,
            life,
            born,
            retired: AtomicBool::new(false),
            refreshing: AtomicBool::new(false),
            hits: AtomicU32::new(0),
            last: AtomicU32::new(0),
        }
    }

    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.born)
    }

    /// The remaining TTL in seconds; `None` if it has expired or was replaced.
    pub(super) fn left(&self, now: Instant) -> Option<u32> {
        let age = u32::try_from(self.age(now).as_secs()).unwrap_or(u32::MAX);
        let left = self.life.checked_sub(age).filter(|left| *left > 0);
        left.filter(|_| !self.retired.load(Ordering::Relaxed))
    }

    /// How long ago it expired; [`Duration::MAX`] if it was replaced.
    pub(super) fn late(&self, now: Instant) -> Duration {
        if self.retired.load(Ordering::Relaxed) {
            return Duration::MAX;
        }
        self.age(now).saturating_sub(Duration::from_secs(self.life.into()))
    }

    /// Counts a query. Returns the number of queries without a pause longer than `pause`.
    pub(super) fn seen(&self, now: Instant, pause: Duration) -> u32 {
        let age = u32::try_from(self.age(now).as_secs()).unwrap_or(u32::MAX);
        let since = age.saturating_sub(self.last.swap(age, Ordering::Relaxed));
        if u64::from(since) > pause.as_secs() {
            self.hits.store(0, Ordering::Relaxed);
        }
        self.hits.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Returns true to the first caller that is to ask the question again, until [`Store::settle`].
    pub(super) fn begin_refresh(&self) -> bool {
        !self.refreshing.load(Ordering::Relaxed) && !self.refreshing.swap(true, Ordering::Relaxed)
    }

    fn weight(&self) -> usize {
        self.reply.weight() + size_of::<Self>() + OVERHEAD
    }
}

/// Entries by the hash of their question.
#[derive(Debug)]
pub(super) struct Store {
    entries: HashMap<u64, CacheEntry, RandomState>,
    keys: Mutex<Keys>,
    most: usize,
}

/// The keys among which the entry to be removed is chosen, and the bytes of all entries.
#[derive(Debug, Default)]
struct Keys {
    list: Vec<u64>,
    bytes: usize,
}

/// A reading of a store.
pub(super) struct StoreGuard<'a> {
    store: &'a Store,
    guard: LocalGuard<'a>,
}

impl StoreGuard<'_> {
    /// The entry of a question with this hash.
    pub(super) fn get(&self, key: u64) -> Option<&CacheEntry> {
        self.store.entries.get(&key, &self.guard)
    }
}

impl Store {
    /// A store for `most` entries.
    pub(super) fn new(most: usize) -> Self {
        Self { entries: HashMap::with_hasher(RandomState::default()), keys: Mutex::default(), most }
    }

    /// Begins a reading.
    pub(super) fn read(&self) -> StoreGuard<'_> {
        StoreGuard { store: self, guard: self.entries.guard() }
    }

    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Notes that the question is no longer being asked.
    pub(super) fn settle(&self, key: u64) {
        if let Some(entry) = self.read().get(key) {
            entry.refreshing.store(false, Ordering::Relaxed);
        }
    }

    /// Notes that the entry was replaced by one in the other store.
    pub(super) fn retire(&self, key: u64) {
        if let Some(entry) = self.read().get(key) {
            entry.retired.store(true, Ordering::Relaxed);
        }
    }

    /// Inserts an entry in place of the one with the same key. Returns how many others were removed to make room.
    pub(super) fn insert(&self, key: u64, entry: CacheEntry, now: Instant) -> u64 {
        let most_bytes = self.most.saturating_mul(BYTES_EACH);
        let weight = entry.weight();
        if self.most == 0 || weight > most_bytes {
            return 0;
        }
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let guard = self.entries.guard();
        match self.entries.get(&key, &guard) {
            Some(before) => {
                entry.hits.store(before.hits.load(Ordering::Relaxed), Ordering::Relaxed);
                keys.bytes -= before.weight();
            }
            None => keys.list.push(key),
        }
        keys.bytes += weight;
        self.entries.insert(key, entry, &guard);
        let mut evicted = 0;
        while keys.list.len() > self.most || keys.bytes > most_bytes {
            let at = self.least(&keys.list, key, now, &guard);
            let victim = keys.list.swap_remove(at);
            if let Some(forgotten) = self.entries.remove(&victim, &guard) {
                keys.bytes -= forgotten.weight();
                evicted += 1;
            }
        }
        evicted
    }

    /// The index of the key to be removed: of a few random ones an expired one, if there is one, and never the newest.
    fn least(&self, keys: &[u64], newest: u64, now: Instant, guard: &LocalGuard<'_>) -> usize {
        let over = |at: &usize| {
            let entry = self.entries.get(&keys[*at], guard);
            entry.is_none_or(|entry| entry.left(now).is_none())
        };
        let mut candidates = [0; CANDIDATES].map(|_| fastrand::usize(..keys.len())).into_iter();
        let others = |at: &usize| keys[*at] != newest;
        let first = candidates.clone().find(others);
        candidates.find(|at| others(at) && over(at)).or(first).unwrap_or(0)
    }
}
