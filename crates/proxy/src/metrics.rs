//! What the proxy counts, under kube-proxy's names.

use std::time::Duration;

use jiff::Timestamp;
use prometheus::{
    Encoder, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use crate::mode::Report;

/// Both values of the label `ip_family`: a sync concerns both families.
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];

/// All metrics of a proxy.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    sync_duration: HistogramVec,
    full_sync_duration: HistogramVec,
    partial_sync_duration: HistogramVec,
    last_sync: GaugeVec,
    last_queued: GaugeVec,
    programming: HistogramVec,
    fine_programming: prometheus::Histogram,
    endpoint_changes: Changes,
    service_changes: Changes,
    no_local_endpoints: IntGaugeVec,
    failures: IntCounterVec,
    deleted_flows: IntCounterVec,
    healthz: IntCounterVec,
    livez: IntCounterVec,
    problems: IntCounter,
    repairs: IntCounter,
    connections: IntGaugeVec,
}

#[derive(Debug)]
struct Changes {
    pending: IntGauge,
    total: IntCounter,
}

/// Which sort of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeOf {
    /// A Service.
    Service,
    /// An EndpointSlice.
    Endpoints,
}

impl Metrics {
    /// All at zero. `mode` decides which failures are counted.
    ///
    /// # Errors
    /// When two metrics have one name, which a test excludes.
    pub(crate) fn new(mode: crate::ModeName) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let short = || prometheus::exponential_buckets(0.001, 2.0, 15);
        let per_family = &["ip_family"];
        let metrics = Self {
            sync_duration: histogram("sync_proxy_rules_duration_seconds", "Time to program changes", short()?, per_family)?,
            full_sync_duration: histogram("sync_full_proxy_rules_duration_seconds", "Time to program everything anew", short()?, per_family)?,
            partial_sync_duration: histogram("sync_partial_proxy_rules_duration_seconds", "Time to program single changes", short()?, per_family)?,
            last_sync: GaugeVec::new(named("sync_proxy_rules_last_timestamp_seconds", "When rules were last programmed"), per_family)?,
            last_queued: GaugeVec::new(named("sync_proxy_rules_last_queued_timestamp_seconds", "When a change last came"), per_family)?,
            programming: histogram("network_programming_duration_seconds", "Time from the change of a pod or Service to its rules", programming_buckets(), per_family)?,
            fine_programming: prometheus::Histogram::with_opts(
                HistogramOpts::new(
                    "portolan_network_programming_duration_seconds",
                    "Time from the change of a pod or Service to the kernel's acknowledgement, finely divided",
                )
                .buckets(prometheus::exponential_buckets(0.0005, 2.0, 18)?),
            )?,
            endpoint_changes: changes("endpoint", "EndpointSlice")?,
            service_changes: changes("service", "Service")?,
            no_local_endpoints: IntGaugeVec::new(
                named("sync_proxy_rules_no_local_endpoints_total", "Services with a traffic policy Local and no endpoint on this node"),
                &["ip_family", "traffic_policy"],
            )?,
            failures: IntCounterVec::new(
                named(
                    match mode {
                        crate::ModeName::Nftables => "sync_proxy_rules_nftables_sync_failures_total",
                        _ => "sync_proxy_rules_iptables_restore_failures_total",
                    },
                    "Rules that could not be programmed",
                ),
                per_family,
            )?,
            deleted_flows: IntCounterVec::new(
                named("conntrack_reconciler_deleted_entries_total", "UDP connections to endpoints that are gone, forgotten"),
                per_family,
            )?,
            healthz: IntCounterVec::new(named("proxy_healthz_total", "Answers of /healthz"), &["code"])?,
            livez: IntCounterVec::new(named("proxy_livez_total", "Answers of /livez"), &["code"])?,
            problems: IntCounter::new("portolan_proxy_invalid_fields_total", "Fields of Services and EndpointSlices that cannot be meant")?,
            repairs: IntCounter::new("portolan_proxy_foreign_changes_total", "Times that somebody else changed the rules and they were repaired")?,
            connections: IntGaugeVec::new(
                Opts::new("portolan_proxy_connections_total", "Connections begun, by Service port and endpoint, as the kernel counts them"),
                &["service", "endpoint"],
            )?,
            registry,
        };
        metrics.register()?;
        for family in FAMILIES {
            metrics.failures.with_label_values(&[family]);
            metrics.deleted_flows.with_label_values(&[family]);
        }
        Ok(metrics)
    }

    fn register(&self) -> prometheus::Result<()> {
        let collectors: [Box<dyn prometheus::core::Collector>; 20] = [
            Box::new(self.sync_duration.clone()),
            Box::new(self.full_sync_duration.clone()),
            Box::new(self.partial_sync_duration.clone()),
            Box::new(self.last_sync.clone()),
            Box::new(self.last_queued.clone()),
            Box::new(self.programming.clone()),
            Box::new(self.fine_programming.clone()),
            Box::new(self.endpoint_changes.pending.clone()),
            Box::new(self.endpoint_changes.total.clone()),
            Box::new(self.service_changes.pending.clone()),
            Box::new(self.service_changes.total.clone()),
            Box::new(self.no_local_endpoints.clone()),
            Box::new(self.failures.clone()),
            Box::new(self.deleted_flows.clone()),
            Box::new(self.healthz.clone()),
            Box::new(self.livez.clone()),
            Box::new(self.problems.clone()),
            Box::new(self.repairs.clone()),
            Box::new(self.connections.clone()),
            Box::new(
                Gauge::new("process_start_time_seconds", "When the process began, in seconds since 1970")
                    .inspect(|gauge| gauge.set(now()))?,
            ),
        ];
        collectors.into_iter().try_for_each(|collector| self.registry.register(collector))
    }

    /// An object changed.
    pub(crate) fn change(&self, of: ChangeOf) {
        let changes = match of {
            ChangeOf::Service => &self.service_changes,
            ChangeOf::Endpoints => &self.endpoint_changes,
        };
        changes.pending.inc();
        changes.total.inc();
        FAMILIES.iter().for_each(|family| self.last_queued.with_label_values(&[family]).set(now()));
    }

    /// Fields that cannot be meant were met.
    pub(crate) fn problems(&self, count: usize) {
        self.problems.inc_by(count as u64);
    }

    /// Somebody else changed the rules.
    pub(crate) fn repair(&self) {
        self.repairs.inc();
    }

    /// Changes were programmed, among them those that began at `triggers`.
    pub(crate) fn synced(&self, report: &Report, took: Duration, triggers: &[Timestamp]) {
        let kind = if report.full { &self.full_sync_duration } else { &self.partial_sync_duration };
        for family in FAMILIES {
            self.sync_duration.with_label_values(&[family]).observe(took.as_secs_f64());
            kind.with_label_values(&[family]).observe(took.as_secs_f64());
            self.last_sync.with_label_values(&[family]).set(now());
        }
        self.deleted_flows.with_label_values(&[FAMILIES[0]]).inc_by(report.flows as u64);
        self.endpoint_changes.pending.set(0);
        self.service_changes.pending.set(0);
        for trigger in triggers {
            let seconds = (Timestamp::now().as_nanosecond() - trigger.as_nanosecond()) as f64 / 1e9;
            self.programming.with_label_values(&[FAMILIES[0]]).observe(seconds.max(0.0));
            self.fine_programming.observe(seconds.max(0.0));
        }
    }

    /// Rules could not be programmed.
    pub(crate) fn failed(&self) {
        FAMILIES.iter().for_each(|family| self.failures.with_label_values(&[family]).inc());
    }

    /// How many Services have a policy Local without endpoints here.
    pub(crate) fn no_local_endpoints(&self, family: service::Family, policy: &str, count: usize) {
        self.no_local_endpoints
            .with_label_values(&[family.to_string().as_str(), policy])
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// `/healthz` or `/livez` answered.
    pub(crate) fn answered(&self, question: crate::health::Question, code: u16) {
        let counter = match question {
            crate::health::Question::Healthz => &self.healthz,
            crate::health::Question::Livez => &self.livez,
        };
        counter.with_label_values(&[code.to_string().as_str()]).inc();
    }

    /// All metrics in Prometheus' text format, version 0.0.4, with the kernel's counts as of now.
    pub(crate) fn print(&self, counts: &[crate::mode::Count]) -> String {
        self.connections.reset();
        for count in counts {
            let endpoint = count.endpoint.map(|endpoint| endpoint.to_string()).unwrap_or_default();
            self.connections
                .with_label_values(&[&*count.service, endpoint.as_str()])
                .add(i64::try_from(count.connections).unwrap_or(i64::MAX));
        }
        let mut text = Vec::new();
        // Writing to memory does not fail.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        String::from_utf8(text).unwrap_or_default()
    }
}

fn named(name: &str, help: &str) -> Opts {
    Opts::new(format!("kubeproxy_{name}"), help)
}

fn histogram(name: &str, help: &str, buckets: Vec<f64>, labels: &[&str]) -> prometheus::Result<HistogramVec> {
    HistogramVec::new(HistogramOpts::new(format!("kubeproxy_{name}"), help).buckets(buckets), labels)
}

fn changes(kind: &str, object: &str) -> prometheus::Result<Changes> {
    let name = |what: &str| format!("kubeproxy_sync_proxy_rules_{kind}_changes_{what}");
    Ok(Changes {
        pending: IntGauge::new(name("pending"), format!("Changes of {object}s that are not programmed yet"))?,
        total: IntCounter::new(name("total"), format!("Changes of {object}s"))?,
    })
}

/// kube-proxy's: quarters of a second, then seconds, ever coarser up to five minutes.
fn programming_buckets() -> Vec<f64> {
    let seconds = (1..60).map(f64::from);
    let fives = (60..120).step_by(5).map(f64::from);
    let halves = (120..=300).step_by(30).map(f64::from);
    [0.25, 0.5].into_iter().chain(seconds).chain(fives).chain(halves).collect()
}

fn now() -> f64 {
    Timestamp::now().as_nanosecond() as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_the_names_that_dashboards_ask_for() {
        let metrics = Metrics::new(crate::ModeName::Nftables).unwrap();
        metrics.change(ChangeOf::Endpoints);
        metrics.synced(
            &Report { full: true, ..Report::default() },
            Duration::from_millis(3),
            &[Timestamp::now()],
        );
        metrics.answered(crate::health::Question::Healthz, 200);
        metrics.no_local_endpoints(service::Family::V4, "internal", 2);
        let text = metrics.print(&[]);
        for name in [
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family=\"IPv4\",le=\"0.004\"} 1",
            "kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family=\"IPv6\"} 1",
            "kubeproxy_network_programming_duration_seconds_bucket{ip_family=\"IPv4\",le=\"0.25\"} 1",
            "kubeproxy_sync_proxy_rules_endpoint_changes_total 1",
            "kubeproxy_sync_proxy_rules_endpoint_changes_pending 0",
            "kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family=\"IPv4\"} 0",
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family=\"IPv4\",traffic_policy=\"internal\"} 2",
            "kubeproxy_proxy_healthz_total{code=\"200\"} 1",
        ] {
            assert!(text.contains(name), "{name} is missing in\n{text}");
        }
    }

    #[test]
    fn programming_times_are_divided_as_upstream_does() {
        let buckets = programming_buckets();
        assert_eq!(
            (buckets.len(), buckets[2], buckets[61], *buckets.last().unwrap()),
            (80, 1.0, 60.0, 300.0)
        );
    }
}
