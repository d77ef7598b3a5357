//! The metrics of the server, with the names that CoreDNS gives them.

mod counts;
#[cfg(test)]
mod reference;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder, Gauge, HistogramOpts, HistogramVec, IntCounter, IntGaugeVec, Opts, Registry, TextEncoder,
};

pub(crate) use counts::{Counted, Counts, MOST_PLUGINS};

/// All metrics of a server. They go on when the configuration changes.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    registry: Registry,
    queries: Queries,
    /// The time from a change in the API until queries are answered with it (DNS programming latency of SIG
    /// Scalability).
    pub(crate) programming: HistogramVec,
    /// How often a new Corefile could not be used.
    pub(crate) reload_failed: IntCounter,
    enabled: IntGaugeVec,
}

/// The counters of queries.
#[derive(Debug, Clone)]
struct Queries {
    by_zone: Arc<Mutex<ByZone>>,
    /// The names of plugins, by row of their table.
    plugins: &'static [&'static str],
}

/// Counters by server and zone.
type ByZone = HashMap<(String, String), Arc<Counts>>;

impl Metrics {
    /// Counters at zero. `plugins` are the names of plugins, by row of their table.
    pub(crate) fn new(plugins: &'static [&'static str]) -> Self {
        let registry = Registry::new();
        let queries = Queries { by_zone: Arc::default(), plugins };
        let programming = HistogramVec::new(
            HistogramOpts::new(
                "coredns_kubernetes_dns_programming_duration_seconds",
                "Seconds from the change of a Service or its pods until DNS answers with it.",
            )
            .buckets((0..20).map(|power| 0.001 * f64::from(1u32 << power)).collect()),
            &["service_kind"],
        );
        let enabled = IntGaugeVec::new(
            Opts::new("coredns_plugin_enabled", "Which directives each zone of a server has."),
            &["server", "zone", "view", "name"],
        );
        let failed = IntCounter::new(
            "coredns_reload_failed_total",
            "How often the Corefile had changed and could not be followed.",
        );
        let build = Gauge::with_opts(
            Opts::new("coredns_build_info", "The version of this server.")
                .const_label("version", env!("CARGO_PKG_VERSION"))
                .const_label("goversion", "")
                .const_label("revision", ""),
        );
        let panics = IntCounter::new("coredns_panics_total", "How often a query brought down its task.");
        // The names are fixed and well formed.
        let (Ok(programming), Ok(enabled), Ok(reload_failed), Ok(build), Ok(panics)) =
            (programming, enabled, failed, build, panics)
        else {
            unreachable!("a metric has a malformed name")
        };
        build.set(1.0);
        let metrics = Self { registry, queries, programming, reload_failed, enabled };
        metrics.register(metrics.queries.clone());
        metrics.register(metrics.programming.clone());
        metrics.register(metrics.enabled.clone());
        metrics.register(metrics.reload_failed.clone());
        metrics.register(build);
        metrics.register(panics);
        metrics
    }

    /// Registers metrics. Those with names that are already registered are left out.
    pub(crate) fn register(&self, collector: impl Collector + 'static) {
        if let Err(error) = self.registry.register(Box::new(collector)) {
            tracing::debug!(%error, "metrics with these names are already registered");
        }
    }

    /// The counters of the queries for a zone of a server, for threads with numbers up to `threads`.
    pub(crate) fn counts(&self, server: &str, zone: &str, threads: usize) -> Arc<Counts> {
        let mut all = self.queries.by_zone.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (server.to_owned(), zone.to_owned());
        let counts = all.entry(key).or_insert_with(|| Arc::new(Counts::new(threads)));
        counts.clone()
    }

    /// Sets which directives a zone of a server has.
    pub(crate) fn enable(&self, server: &str, zone: &str, names: &[&str]) {
        for name in names {
            self.enabled.with_label_values(&[server, zone, "", name]).set(1);
        }
    }

    /// Removes all directives of [`Metrics::enable`].
    pub(crate) fn disable_all(&self) {
        self.enabled.reset();
    }

    /// Counts the time that a change took, by the kind of its Service.
    pub(crate) fn programmed(&self, kind: &str, took: Duration) {
        self.programming.with_label_values(&[kind]).observe(took.as_secs_f64());
    }

    /// All metrics in the text format of Prometheus.
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::warn!(%error, "metrics cannot be written");
        }
        text
    }
}

/// A collector whose name is fixed in the program, and so well formed.
pub(crate) fn well_formed<T>(collector: Result<T, prometheus::Error>) -> T {
    match collector {
        Ok(collector) => collector,
        Err(error) => unreachable!("a metric has a malformed name: {error}"),
    }
}

impl Collector for Queries {
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let all = self.by_zone.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: Vec<_> = all.iter().collect();
        sorted.sort_by_key(|(labels, _)| *labels);
        let counts = sorted.into_iter().map(|((server, zone), counts)| (&**server, &**zone, &**counts));
        counts::families(counts, self.plugins)
    }
}
