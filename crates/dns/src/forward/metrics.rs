//! The metrics of upstream resolvers.

use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts};

use crate::metrics::{Metrics, well_formed};

/// The label `proxy_name` of all metrics.
pub(super) const PROXY: &str = "forward";

/// The metrics of upstream resolvers, with the names that CoreDNS gives them.
#[derive(Debug, Clone)]
pub(crate) struct ForwardMetrics {
    /// The time until replies came.
    pub(super) took: HistogramVec,
    /// Probes that failed.
    pub(super) failed_probes: IntCounterVec,
    /// Queries on a connection that was open before.
    pub(super) kept: IntCounterVec,
    /// Queries that a connection was opened for.
    pub(super) opened: IntCounterVec,
    /// Queries that came while every resolver was down.
    pub(super) all_down: IntCounter,
    /// Queries above `max_concurrent`.
    pub(super) refused: IntCounter,
    /// Resolvers left out because their queries came back to this server.
    pub(crate) loops: IntCounterVec,
}

impl ForwardMetrics {
    /// Metrics at zero, registered with all others.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let took = HistogramOpts::new(
            "coredns_proxy_request_duration_seconds",
            "How long upstream resolvers took to reply.",
        )
        .buckets((0..16).map(|power| 0.00025 * f64::from(1u32 << power)).collect());
        let vector = |name, help, labels: &[&str]| {
            let counter = well_formed(IntCounterVec::new(Opts::new(name, help), labels));
            metrics.register(counter.clone());
            counter
        };
        let single = |name, help| {
            let counter = well_formed(IntCounter::new(name, help));
            metrics.register(counter.clone());
            counter
        };
        let took = well_formed(HistogramVec::new(took, &["proxy_name", "to", "rcode"]));
        metrics.register(took.clone());
        Self {
            took,
            failed_probes: vector(
                "coredns_proxy_healthcheck_failures_total",
                "Probes that an upstream resolver did not answer.",
                &["proxy_name", "to"],
            ),
            kept: vector(
                "coredns_proxy_conn_cache_hits_total",
                "Queries on a connection that was open.",
                &["proxy_name", "to", "proto"],
            ),
            opened: vector(
                "coredns_proxy_conn_cache_misses_total",
                "Queries that a connection was opened for.",
                &["proxy_name", "to", "proto"],
            ),
            all_down: single(
                "coredns_forward_healthcheck_broken_total",
                "Queries that came while all upstream resolvers were down.",
            ),
            refused: single(
                "coredns_forward_max_concurrent_rejects_total",
                "Queries refused because too many were under way.",
            ),
            loops: vector(
                "portolan_forward_loops_total",
                "Upstream resolvers left out because queries to them came back.",
                &["to"],
            ),
        }
    }

    /// Makes every metric appear once.
    #[cfg(test)]
    pub(crate) fn touch(&self) {
        drop(self.took.with_label_values(&[PROXY, "192.0.2.1:53", "NOERROR"]));
        drop(self.failed_probes.with_label_values(&[PROXY, "192.0.2.1:53"]));
        drop(self.kept.with_label_values(&[PROXY, "192.0.2.1:53", "udp"]));
        drop(self.opened.with_label_values(&[PROXY, "192.0.2.1:53", "udp"]));
        drop(self.loops.with_label_values(&["192.0.2.1:53"]));
    }
}
