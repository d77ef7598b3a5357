//! `cache`: replies of upstream resolvers are kept and used again.

mod handler;
mod read;

use std::time::Duration;

use crate::wire::Name;

pub(super) use handler::handler;
pub(super) use read::read;

/// The directive `cache`. The names of the cluster are never cached: their table is always current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheOptions {
    /// Only names in these zones; none means all.
    pub(crate) zones: Vec<Name>,
    /// Limits of positive answers.
    pub(crate) success: CacheLimits,
    /// Limits of negative answers and failures.
    pub(crate) denial: CacheLimits,
    /// How long a failure is cached.
    pub(crate) failure: Duration,
    /// Whether entries that are often asked for are fetched again before they expire.
    pub(crate) prefetch: Option<PrefetchOptions>,
    /// Whether expired answers are used if there are no others (RFC 8767).
    pub(crate) stale: Option<StaleOptions>,
    /// Whether clients are told the TTL that an answer came with, instead of what is left of it.
    pub(crate) keep_ttl: bool,
}

/// The limits of a class of answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheLimits {
    /// The most entries.
    pub(crate) capacity: usize,
    /// The longest TTL.
    pub(crate) longest: Duration,
    /// The shortest TTL.
    pub(crate) shortest: Duration,
    /// Names in these zones are not cached.
    pub(crate) disabled: Vec<Name>,
}

impl Default for CacheOptions {
    fn default() -> Self {
        let kept = |seconds| CacheLimits {
            capacity: 9984,
            longest: Duration::from_secs(seconds),
            shortest: Duration::from_secs(5),
            disabled: Vec::new(),
        };
        Self {
            zones: Vec::new(),
            success: kept(3600),
            denial: kept(1800),
            failure: Duration::from_secs(5),
            prefetch: None,
            stale: None,
            keep_ttl: false,
        }
    }
}

/// The option `prefetch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PrefetchOptions {
    /// The queries after which an entry is fetched again.
    pub(crate) amount: u32,
    /// The longest pause between two of these queries.
    pub(crate) pause: Duration,
    /// The percentage of the TTL that may be left at most.
    pub(crate) percentage: u8,
}

/// The option `serve_stale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StaleOptions {
    /// How long after their end expired answers are used.
    pub(crate) longest: Duration,
    /// How long to wait for upstream resolvers before the expired answer is sent. Zero sends it at once; `None` waits
    /// until they fail.
    pub(crate) wait: Option<Duration>,
    /// The TTL of expired answers, in seconds.
    pub(crate) ttl: u32,
}
