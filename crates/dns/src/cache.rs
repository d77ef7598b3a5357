//! What resolvers said, remembered (`cache`).

mod entry;
mod meters;
#[cfg(test)]
mod samples;
mod scan;
mod store;

use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use std::hash::{BuildHasher, Hash, Hasher};

use crate::plugin::cache::{CacheLimits, CacheOptions};
use crate::wire::{Name, Query, QueryFlags, Question};
use entry::Verdict;
use meters::CacheMeters;
use store::{Kept, Store};

pub(crate) use entry::Entry;
pub(crate) use meters::Meters;

/// The cache of a server block.
#[derive(Debug)]
pub(crate) struct Cache {
    options: CacheOptions,
    hasher: RandomState,
    success: Store,
    denial: Store,
    meters: CacheMeters,
}

/// What the cache has for a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hit {
    /// Nothing.
    Miss,
    /// The reply, which was written.
    Written {
        /// Whether the question should be asked anew, as the reply is or will soon be out of date.
        refresh: bool,
    },
}

/// Whether replies whose time is over are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stale {
    /// As configured.
    AsConfigured,
    /// In any case, if they are kept at all: there is nothing better.
    Welcome,
}

/// A reply that is told.
struct Choice<'a> {
    kept: &'a Kept,
    /// Whether it tells of something that exists.
    exists: bool,
    /// Whether resolvers failed a moment ago.
    failing: bool,
}

impl Cache {
    /// An empty cache.
    pub(crate) fn new(options: &CacheOptions, meters: CacheMeters) -> Self {
        Self {
            hasher: RandomState::default(),
            success: Store::new(options.success.capacity),
            denial: Store::new(options.denial.capacity),
            options: options.clone(),
            meters,
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

    /// Writes the reply to a query, if it is known. Takes no lock and no memory.
    pub(crate) fn answer(
        &self,
        query: &Query<'_>,
        limit: usize,
        now: Instant,
        stale: Stale,
        out: &mut Vec<u8>,
    ) -> Hit {
        if !self.covers(&query.name) {
            return Hit::Miss;
        }
        let key = self.key((query.name.wire(), query.kind, query.class), QueryFlags::of(query));
        let known = |kept: &&Kept| kept.entry.question.is_that_of(query);
        let tell = |choice, out| self.tell(choice, (query, limit), now, stale, out);
        let success = self.success.read();
        let positive = success.get(key).filter(known);
        if let Some(kept) = positive.filter(|kept| kept.left(now).is_some()) {
            return tell(Choice { kept, exists: true, failing: false }, out);
        }
        let denial = self.denial.read();
        match self.choose(positive, denial.get(key).filter(known), now, stale) {
            Some(choice) => tell(choice, out),
            None => Hit::Miss,
        }
    }

    /// Writes a reply that was chosen.
    fn tell(
        &self,
        Choice { kept, exists, failing }: Choice<'_>,
        (query, limit): (&Query<'_>, usize),
        now: Instant,
        stale: Stale,
        out: &mut Vec<u8>,
    ) -> Hit {
        // Otherwise it was counted as a query that had to be asked.
        if stale == Stale::AsConfigured {
            if exists { &self.meters.success } else { &self.meters.denial }.inc();
            self.meters.requests.inc();
        }
        let (ttl, refresh) = match kept.left(now) {
            Some(left) => {
                let ttl = if self.options.keep_ttl { kept.life } else { left };
                (ttl, self.is_popular(kept, left, now))
            }
            None => {
                self.meters.stale.inc();
                let ttl = self.options.stale.map_or(0, |stale| stale.ttl);
                (ttl, stale == Stale::AsConfigured && !failing)
            }
        };
        kept.entry.write(query, limit, Some(ttl), out);
        Hit::Written { refresh: refresh && kept.begin_refresh() }
    }

    /// What to tell where nothing is known for certain that exists.
    fn choose<'a>(
        &self,
        positive: Option<&'a Kept>,
        negative: Option<&'a Kept>,
        now: Instant,
        stale: Stale,
    ) -> Option<Choice<'a>> {
        let fresh = negative.filter(|kept| kept.left(now).is_some());
        let failing = fresh.is_some_and(|kept| kept.entry.verdict == Verdict::Failure);
        if let Some(kept) = fresh.filter(|_| !failing) {
            return Some(Choice { kept, exists: false, failing });
        }
        // A failure is no news: what was known before it is better, and nobody is asked while it is remembered.
        let wanted = failing || stale == Stale::Welcome || self.patience() == Some(Duration::ZERO);
        let late =
            |kept: &&Kept| wanted && self.options.stale.is_some_and(|stale| kept.late(now) < stale.longest);
        let exists = positive.filter(late);
        let kept = exists.or(fresh).or(negative.filter(late))?;
        Some(Choice { kept, exists: exists.is_some(), failing })
    }

    /// Whether a reply is worth to be fetched before its time is over.
    fn is_popular(&self, kept: &Kept, left: u32, now: Instant) -> bool {
        self.options.prefetch.is_some_and(|prefetch| {
            let soon = (u64::from(kept.life) * u64::from(prefetch.percentage)).div_ceil(100);
            kept.seen(now, prefetch.pause) >= prefetch.amount && u64::from(left) <= soon
        })
    }

    /// Counts a query that had to be asked.
    pub(crate) fn missed(&self) {
        self.meters.requests.inc();
        self.meters.misses.inc();
    }

    /// Counts a question that is asked anew.
    pub(crate) fn refreshing(&self) {
        self.meters.prefetches.inc();
    }

    /// Counts a reply that is no answer.
    pub(crate) fn dropped(&self) {
        self.meters.drops.inc();
    }

    /// How long a query may wait while there is a reply whose time is over; `None` is until resolvers fail.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.options.stale.and_then(|stale| stale.wait)
    }

    /// Remembers a reply, if it is worth it. Returns the TTL to be told in place of those of its records, kept or
    /// not: that of a name does not change by leaps then. `None` is for names of other zones.
    pub(crate) fn keep(&self, entry: &Arc<Entry>, now: Instant) -> Option<u32> {
        let key = self.key_of(&entry.question);
        self.success.settle(key);
        self.denial.settle(key);
        let name = entry.question.name();
        if !self.covers(&name) {
            return None;
        }
        let bounded = |ttl: u32, kept: &CacheLimits| {
            let seconds = |of: Duration| u32::try_from(of.as_secs()).unwrap_or(u32::MAX);
            ttl.max(seconds(kept.shortest)).min(seconds(kept.longest))
        };
        let (life, kept, store, other) = match entry.verdict {
            Verdict::Success(ttl) => (
                bounded(ttl, &self.options.success),
                &self.options.success,
                &self.success,
                Some(&self.denial),
            ),
            Verdict::Denial(ttl) => {
                (bounded(ttl, &self.options.denial), &self.options.denial, &self.denial, Some(&self.success))
            }
            Verdict::Failure => {
                let life = u32::try_from(self.options.failure.as_secs()).unwrap_or(u32::MAX);
                (life, &self.options.denial, &self.denial, None)
            }
            Verdict::Fleeting(ttl) => {
                let kept = if entry.answers() { &self.options.success } else { &self.options.denial };
                return Some(bounded(ttl, kept));
            }
        };
        if life == 0 || is_in(&name, &kept.disabled) {
            return Some(life);
        }
        if let Some(other) = other {
            other.retire(key);
        }
        let evicted = store.insert(key, Kept::new(entry.clone(), life, now), now);
        let (entries, evictions) = match entry.verdict {
            Verdict::Success(_) => (&self.meters.success_entries, &self.meters.success_evictions),
            _ => (&self.meters.denial_entries, &self.meters.denial_evictions),
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
