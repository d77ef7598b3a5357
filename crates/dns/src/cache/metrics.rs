//! The metrics of caches.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};

use crate::metrics::{Metrics, well_formed};

/// The metrics of all caches by server, with the names that CoreDNS gives them.
#[derive(Debug, Clone)]
pub(crate) struct CacheMetrics {
    requests: IntCounterVec,
    hits: IntCounterVec,
    misses: IntCounterVec,
    prefetches: IntCounterVec,
    drops: IntCounterVec,
    stale: IntCounterVec,
    evictions: IntCounterVec,
    entries: IntGaugeVec,
}

/// The counters of one cache.
#[derive(Debug, Clone)]
pub(crate) struct CacheCounters {
    /// Queries.
    pub(super) requests: IntCounter,
    /// Queries answered with a positive entry.
    pub(super) success: IntCounter,
    /// Queries answered with a negative entry or a failure.
    pub(super) denial: IntCounter,
    /// Queries that resolvers were asked for.
    pub(super) misses: IntCounter,
    /// Questions asked again, before or after their entry expired.
    pub(super) prefetches: IntCounter,
    /// Replies of resolvers that were no answer to their question.
    pub(super) drops: IntCounter,
    /// Queries answered with an expired entry.
    pub(super) stale: IntCounter,
    /// Positive entries removed to make room.
    pub(super) success_evictions: IntCounter,
    /// Negative entries removed to make room.
    pub(super) denial_evictions: IntCounter,
    /// Positive entries.
    pub(super) success_entries: IntGauge,
    /// Negative entries.
    pub(super) denial_entries: IntGauge,
}

impl CacheMetrics {
    /// Metrics at zero, registered with all others.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        const EACH: &[&str] = &["server", "zones", "view"];
        const BY_TYPE: &[&str] = &["server", "type", "zones", "view"];
        let counter = |name, help, labels: &[&str]| {
            let counter = well_formed(IntCounterVec::new(Opts::new(name, help), labels));
            metrics.register(counter.clone());
            counter
        };
        let entries = Opts::new("coredns_cache_entries", "Replies that are kept.");
        let entries = well_formed(IntGaugeVec::new(entries, BY_TYPE));
        metrics.register(entries.clone());
        Self {
            requests: counter("coredns_cache_requests_total", "Queries that the cache was asked.", EACH),
            hits: counter("coredns_cache_hits_total", "Queries that the cache answered.", BY_TYPE),
            misses: counter("coredns_cache_misses_total", "Queries that the cache could not answer.", EACH),
            prefetches: counter("coredns_cache_prefetch_total", "Questions asked anew by the cache.", EACH),
            drops: counter("coredns_cache_drops_total", "Replies that were no answer.", EACH),
            stale: counter("coredns_cache_served_stale_total", "Replies sent after their time.", EACH),
            evictions: counter("coredns_cache_evictions_total", "Replies forgotten for others.", BY_TYPE),
            entries,
        }
    }

    /// The counters of the cache of a server for some zones.
    pub(crate) fn of(&self, server: &str, zones: &str) -> CacheCounters {
        let each = |vector: &IntCounterVec| vector.with_label_values(&[server, zones, ""]);
        let typed = |vector: &IntCounterVec, kind: &str| vector.with_label_values(&[server, kind, zones, ""]);
        let entries = |kind: &str| self.entries.with_label_values(&[server, kind, zones, ""]);
        CacheCounters {
            requests: each(&self.requests),
            success: typed(&self.hits, "success"),
            denial: typed(&self.hits, "denial"),
            misses: each(&self.misses),
            prefetches: each(&self.prefetches),
            drops: each(&self.drops),
            stale: each(&self.stale),
            success_evictions: typed(&self.evictions, "success"),
            denial_evictions: typed(&self.evictions, "denial"),
            success_entries: entries("success"),
            denial_entries: entries("denial"),
        }
    }
}
