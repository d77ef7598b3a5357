//! The cache of replies of upstream resolvers (directive `cache`).

mod metrics;
mod reply;
mod scan;
mod store;
#[cfg(test)]
mod test_replies;

use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};

use crate::plugin::cache::{CacheLimits, CacheOptions};
use crate::wire::{Name, Query, QueryFlags, Question};
use metrics::CacheCounters;
use reply::Cacheability;
use store::{CacheEntry, Store};

pub(crate) use metrics::CacheMetrics;
pub(crate) use reply::UpstreamReply;

/// The cache of a server block.
#[derive(Debug)]
pub(crate) struct Cache {
    options: CacheOptions,
    hasher: RandomState,
    success: Store,
    denial: Store,
    counters: CacheCounters,
}

/// Whether the cache has a reply to a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hit {
    /// It has none.
    Miss,
    /// It has one, which was written.
    Written {
        /// Whether the question should be asked again, because the reply has expired or will soon.
        refresh: bool,
    },
}

/// Whether expired replies are accepted (RFC 8767).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StaleReplies {
    /// As the configuration says.
    AsConfigured,
    /// Always, if there is one: resolvers gave no answer.
    Accepted,
}

/// The entry to answer with.
struct Choice<'a> {
    entry: &'a CacheEntry,
    /// Whether it is a positive answer.
    exists: bool,
    /// Whether the last reply of resolvers was a failure that is still cached.
    failing: bool,
}

impl Cache {
    /// An empty cache.
    pub(crate) fn new(options: &CacheOptions, counters: CacheCounters) -> Self {
        Self {
            hasher: RandomState::default(),
            success: Store::new(options.success.capacity),
            denial: Store::new(options.denial.capacity),
            options: options.clone(),
            counters,
        }
    }

    fn key(&self, (name, kind, class): (&[u8], u16, u16), flags: QueryFlags) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(name);
        hasher.write_u32(u32::from(kind) << 16 | u32::from(class));
        flags.hash(&mut hasher);
        hasher.finish()
    }

    fn key_of(&self, question: &Question) -> u64 {
        let name = &question.wire()[..question.wire().len() - 4];
        self.key((name, question.kind(), question.class()), question.flags())
    }

    fn covers(&self, name: &Name) -> bool {
        self.options.zones.is_empty() || is_in(name, &self.options.zones)
    }

    /// Writes the reply to a query, if the cache has one. Takes no lock and allocates no memory.
    pub(crate) fn answer(
        &self,
        query: &Query<'_>,
        limit: usize,
        now: Instant,
        stale: StaleReplies,
        out: &mut Vec<u8>,
    ) -> Hit {
        if !self.covers(&query.name) {
            return Hit::Miss;
        }
        let key = self.key((query.name.wire(), query.kind, query.class), QueryFlags::of(query));
        let known = |entry: &&CacheEntry| entry.reply.question.is_that_of(query);
        let tell = |choice, out| self.tell(choice, (query, limit), now, stale, out);
        let success = self.success.read();
        let positive = success.get(key).filter(known);
        if let Some(entry) = positive.filter(|entry| entry.left(now).is_some()) {
            return tell(Choice { entry, exists: true, failing: false }, out);
        }
        let denial = self.denial.read();
        match self.choose(positive, denial.get(key).filter(known), now, stale) {
            Some(choice) => tell(choice, out),
            None => Hit::Miss,
        }
    }

    /// Writes the reply of an entry.
    fn tell(
        &self,
        Choice { entry, exists, failing }: Choice<'_>,
        (query, limit): (&Query<'_>, usize),
        now: Instant,
        stale: StaleReplies,
        out: &mut Vec<u8>,
    ) -> Hit {
        // If resolvers were asked before, the query was counted by [`Cache::missed`].
        if stale == StaleReplies::AsConfigured {
            if exists { &self.counters.success } else { &self.counters.denial }.inc();
            self.counters.requests.inc();
        }
        let (ttl, refresh) = match entry.left(now) {
            Some(left) => {
                let ttl = if self.options.keep_ttl { entry.life } else { left };
                (ttl, self.is_popular(entry, left, now))
            }
            None => {
                self.counters.stale.inc();
                let ttl = self.options.stale.map_or(0, |stale| stale.ttl);
                (ttl, stale == StaleReplies::AsConfigured && !failing)
            }
        };
        entry.reply.write(query, limit, Some(ttl), out);
        Hit::Written { refresh: refresh && entry.begin_refresh() }
    }

    /// The entry to answer with if there is no positive one that has not expired.
    fn choose<'a>(
        &self,
        positive: Option<&'a CacheEntry>,
        negative: Option<&'a CacheEntry>,
        now: Instant,
        stale: StaleReplies,
    ) -> Option<Choice<'a>> {
        let fresh = negative.filter(|entry| entry.left(now).is_some());
        let failing = fresh.is_some_and(|entry| entry.reply.cacheability == Cacheability::Failure);
        if let Some(entry) = fresh.filter(|_| !failing) {
            return Some(Choice { entry, exists: false, failing });
        }
        // An expired answer is better than a failure, and resolvers are not asked again while the failure is cached.
        let wanted = failing || stale == StaleReplies::Accepted || self.patience() == Some(Duration::ZERO);
        let late = |entry: &&CacheEntry| {
            wanted && self.options.stale.is_some_and(|stale| entry.late(now) < stale.longest)
        };
        let exists = positive.filter(late);
        let entry = exists.or(fresh).or(negative.filter(late))?;
        Some(Choice { entry, exists: exists.is_some(), failing })
    }

    /// Whether an entry is asked for often enough to be fetched again before it expires (`prefetch`).
    fn is_popular(&self, entry: &CacheEntry, left: u32, now: Instant) -> bool {
        self.options.prefetch.is_some_and(|prefetch| {
            let soon = (u64::from(entry.life) * u64::from(prefetch.percentage)).div_ceil(100);
            entry.seen(now, prefetch.pause) >= prefetch.amount && u64::from(left) <= soon
        })
    }

    /// Counts a query that resolvers were asked for.
    pub(crate) fn missed(&self) {
        self.counters.requests.inc();
        self.counters.misses.inc();
    }

    /// Counts a question that is asked again for an entry.
    pub(crate) fn refreshing(&self) {
        self.counters.prefetches.inc();
    }

    /// Counts a reply that is no answer to its question.
    pub(crate) fn dropped(&self) {
        self.counters.drops.inc();
    }

    /// How long a query waits for resolvers before it is answered with an expired entry. `None` means until they fail.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.options.stale.and_then(|stale| stale.wait)
    }

    /// Keeps a reply if it may be used again. Returns the TTL in seconds that clients are told in place of those of
    /// its records, whether the reply is kept or not, so that the TTL of a name does not jump. `None` for names
    /// outside of the zones of the cache.
    pub(crate) fn keep(&self, reply: &Arc<UpstreamReply>, now: Instant) -> Option<u32> {
        let key = self.key_of(&reply.question);
        self.success.settle(key);
        self.denial.settle(key);
        let name = reply.question.name();
        if !self.covers(&name) {
            return None;
        }
        let bounded = |ttl: u32, limits: &CacheLimits| {
            let seconds = |of: Duration| u32::try_from(of.as_secs()).unwrap_or(u32::MAX);
            ttl.max(seconds(limits.shortest)).min(seconds(limits.longest))
        };
        let (success, denial) = (&self.options.success, &self.options.denial);
        let (life, limits, store, other) = match reply.cacheability {
            Cacheability::Success(ttl) => (bounded(ttl, success), success, &self.success, Some(&self.denial)),
            Cacheability::Denial(ttl) => (bounded(ttl, denial), denial, &self.denial, Some(&self.success)),
            Cacheability::Failure => {
                let life = u32::try_from(self.options.failure.as_secs()).unwrap_or(u32::MAX);
                (life, denial, &self.denial, None)
            }
            Cacheability::Uncacheable(ttl) => {
                return Some(bounded(ttl, if reply.answers() { success } else { denial }));
            }
        };
        if life == 0 || is_in(&name, &limits.disabled) {
            return Some(life);
        }
        if let Some(other) = other {
            other.retire(key);
        }
        let evicted = store.insert(key, CacheEntry::new(reply.clone(), life, now), now);
        let (entries, evictions) = match reply.cacheability {
            Cacheability::Success(_) => (&self.counters.success_entries, &self.counters.success_evictions),
            _ => (&self.counters.denial_entries, &self.counters.denial_evictions),
        };
        entries.set(store.len() as i64);
        evictions.inc_by(evicted);
        Some(life)
    }
}

fn is_in(name: &Name, zones: &[Name]) -> bool {
    zones.iter().any(|zone| name.below(zone).is_some())
}

#[cfg(test)]
mod tests;
