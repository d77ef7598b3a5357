//! Replies by question, a bounded number of them, read without a lock.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use papaya::{HashMap, LocalGuard};

use super::reply::UpstreamReply;

/// How many bytes the replies of a store take at most, for each that it may hold; more than nearly all do.
const BYTES_EACH: usize = 1024;
/// The memory that a reply takes besides itself.
const OVERHEAD: usize = 128;
/// How many replies are looked at for one to be forgotten.
const CANDIDATES: usize = 4;

/// A reply and its time.
#[derive(Debug)]
pub(super) struct CacheEntry {
    pub(super) reply: Arc<UpstreamReply>,
    /// How long it is true, in seconds.
    pub(super) life: u32,
    born: Instant,
    /// A reply of another kind has taken its place.
    retired: AtomicBool,
    /// Whether somebody asks anew.
    refreshing: AtomicBool,
    /// How often it was asked for without a long pause.
    hits: AtomicU32,
    /// When it was asked for last, in seconds after it was born.
    last: AtomicU32,
}

impl CacheEntry {
    /// A reply that was just given.
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

    /// How many seconds are left of it; `None` when its time is over.
    pub(super) fn left(&self, now: Instant) -> Option<u32> {
        let age = u32::try_from(self.age(now).as_secs()).unwrap_or(u32::MAX);
        let left = self.life.checked_sub(age).filter(|left| *left > 0);
        left.filter(|_| !self.retired.load(Ordering::Relaxed))
    }

    /// For how long its time has been over.
    pub(super) fn late(&self, now: Instant) -> Duration {
        if self.retired.load(Ordering::Relaxed) {
            return Duration::MAX;
        }
        self.age(now).saturating_sub(Duration::from_secs(self.life.into()))
    }

    /// Counts a query; how many there were without a pause of that length.
    pub(super) fn seen(&self, now: Instant, pause: Duration) -> u32 {
        let age = u32::try_from(self.age(now).as_secs()).unwrap_or(u32::MAX);
        let since = age.saturating_sub(self.last.swap(age, Ordering::Relaxed));
        if u64::from(since) > pause.as_secs() {
            self.hits.store(0, Ordering::Relaxed);
        }
        self.hits.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Whether the caller is the one who asks anew.
    pub(super) fn begin_refresh(&self) -> bool {
        !self.refreshing.load(Ordering::Relaxed) && !self.refreshing.swap(true, Ordering::Relaxed)
    }

    fn weight(&self) -> usize {
        self.reply.weight() + size_of::<Self>() + OVERHEAD
    }
}

/// Replies by the hash of their question.
#[derive(Debug)]
pub(super) struct Store {
    entries: HashMap<u64, CacheEntry, RandomState>,
    keys: Mutex<Keys>,
    most: usize,
}

/// What there is to choose from when a place is needed.
#[derive(Debug, Default)]
struct Keys {
    list: Vec<u64>,
    bytes: usize,
}

/// A look into a store.
pub(super) struct StoreGuard<'a> {
    store: &'a Store,
    guard: LocalGuard<'a>,
}

impl StoreGuard<'_> {
    /// The reply to a question of this hash.
    pub(super) fn get(&self, key: u64) -> Option<&CacheEntry> {
        self.store.entries.get(&key, &self.guard)
    }
}

impl Store {
    /// A store for so many replies.
    pub(super) fn new(most: usize) -> Self {
        Self { entries: HashMap::with_hasher(RandomState::default()), keys: Mutex::default(), most }
    }

    /// A look into it.
    pub(super) fn read(&self) -> StoreGuard<'_> {
        StoreGuard { store: self, guard: self.entries.guard() }
    }

    /// How many replies there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Nobody asks anew any more.
    pub(super) fn settle(&self, key: u64) {
        if let Some(entry) = self.read().get(key) {
            entry.refreshing.store(false, Ordering::Relaxed);
        }
    }

    /// A reply is no longer true. Its place is taken by a later one.
    pub(super) fn retire(&self, key: u64) {
        if let Some(entry) = self.read().get(key) {
            entry.retired.store(true, Ordering::Relaxed);
        }
    }

    /// Puts a reply in place of the one that there was; others that had to be forgotten for it are counted.
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

    /// The place of one of a few random replies, rather of one whose time is over, never of the newest.
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
