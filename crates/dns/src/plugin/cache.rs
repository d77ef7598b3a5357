//! `cache`: replies of upstream resolvers are kept and told again.

mod handler;
mod read;

use std::time::Duration;

use crate::wire::Name;

pub(super) use handler::handler;
pub(super) use read::read;

/// The directive `cache`. It remembers what upstreams said; the cluster's own names are never in it, because what
/// is known of them is always current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheOptions {
    /// Only names in these zones; none means all.
    pub(crate) zones: Vec<Name>,
    /// Names that exist.
    pub(crate) success: CacheLimits,
    /// Names that do not.
    pub(crate) denial: CacheLimits,
    /// How long a failure is remembered.
    pub(crate) failure: Duration,
    /// Whether popular names are fetched before they expire.
    pub(crate) prefetch: Option<PrefetchOptions>,
    /// Whether expired answers are better than none.
    pub(crate) stale: Option<StaleOptions>,
    /// Whether answers keep the TTL that they came with.
    pub(crate) keep_ttl: bool,
}

/// How a class of answers is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheLimits {
    /// How many.
    pub(crate) capacity: usize,
    /// The longest that one is remembered.
    pub(crate) longest: Duration,
    /// The shortest.
    pub(crate) shortest: Duration,
    /// Not for names in these zones.
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
    /// How often a name must be asked for to be popular.
    pub(crate) amount: u32,
    /// The longest pause between two of these.
    pub(crate) pause: Duration,
    /// How much of the TTL must be left at most, in hundredths.
    pub(crate) percentage: u8,
}

/// The option `serve_stale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StaleOptions {
    /// For how long after the end.
    pub(crate) longest: Duration,
    /// How long upstreams are given before the expired answer is sent; zero sends it at once, `None` waits for
    /// them to fail.
    pub(crate) wait: Option<Duration>,
    /// The TTL of expired answers, in seconds.
    pub(crate) ttl: u32,
}
