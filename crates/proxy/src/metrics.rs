//! What the proxy counts, under kube-proxy's names.

mod of_modes;
#[cfg(test)]
mod reference;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};
use service::Family;

use crate::config::ModeName;
use crate::health::Question;
use crate::localhost::ListenerCounts;
use crate::mode::{Counted, Report, RuleCount};

/// Both values of the label `ip_family`: a sync concerns both families.
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];

/// All metrics of a proxy, whatever its mode. Those of other modes are not printed.
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
    nftables_failures: IntCounterVec,
    nftables_cleanup_failures: IntCounterVec,
    restore_failures: IntCounterVec,
    partial_restore_failures: IntCounterVec,
    rules: IntGaugeVec,
    rules_last: IntGaugeVec,
    flows_duration: HistogramVec,
    deleted_flows: IntCounterVec,
    healthz: IntCounterVec,
    livez: IntCounterVec,
    localhost_listeners: IntGaugeVec,
    localhost_failures: IntCounterVec,
    invalid_packets: IntCounter,
    localhost_packets: IntCounter,
    problems: IntCounter,
    repairs: IntCounter,
    misfits: IntCounter,
    table_full: IntCounter,
    revisions: IntCounterVec,
    connections: IntCounterVec,
    listener_counts: Arc<ListenerCounts>,
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

/// What became of a change of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RevisionOutcome {
    /// The proxy goes on with it.
    Applied,
    /// It cannot be used; the proxy goes on as before.
    Refused,
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// When two metrics have one name, which a test excludes.
    pub(crate) fn new() -> prometheus::Result<Self> {
        let short = || prometheus::exponential_buckets(0.001, 2.0, 15);
        let per_family = &["ip_family"];
        let per_table = &["ip_family", "table"];
        let failures = |name, help| IntCounterVec::new(named(name, help), per_family);
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
            nftables_failures: failures("sync_proxy_rules_nftables_sync_failures_total", "Times that rules could not be programmed")?,
            nftables_cleanup_failures: failures("sync_proxy_rules_nftables_cleanup_failures_total", "Times that rules of other modes could not be removed")?,
            restore_failures: failures("sync_proxy_rules_iptables_restore_failures_total", "Times that rules could not be programmed")?,
            partial_restore_failures: failures("sync_proxy_rules_iptables_partial_restore_failures_total", "Times that a change did not fit the rules that were there, and all were written anew")?,
            rules: IntGaugeVec::new(named("sync_proxy_rules_iptables_total", "Rules of the proxy"), per_table)?,
            rules_last: IntGaugeVec::new(named("sync_proxy_rules_iptables_last", "Rules that the last sync wrote"), per_table)?,
            flows_duration: histogram("conntrack_reconciler_sync_duration_seconds", "Time to look for UDP connections to endpoints that are gone", short()?, per_family)?,
            deleted_flows: failures("conntrack_reconciler_deleted_entries_total", "UDP connections to endpoints that are gone, forgotten")?,
            healthz: IntCounterVec::new(named("proxy_healthz_total", "Answers of /healthz"), &["code"])?,
            livez: IntCounterVec::new(named("proxy_livez_total", "Answers of /livez"), &["code"])?,
            localhost_listeners: IntGaugeVec::new(named("nftables_localhost_nodeport_listeners", "NodePorts that are listened at on a loopback address"), per_family)?,
            localhost_failures: failures("nftables_localhost_nodeport_listener_creation_failures_total", "Times that a NodePort could not be listened at on a loopback address")?,
            invalid_packets: IntCounter::with_opts(named("iptables_ct_state_invalid_dropped_packets_total", "Packets dropped for belonging to no connection"))?,
            localhost_packets: IntCounter::with_opts(named("iptables_localhost_nodeports_accepted_packets_total", "Connections to NodePorts on loopback addresses"))?,
            problems: IntCounter::new("portolan_proxy_invalid_fields_total", "Fields of Services and EndpointSlices that cannot be meant")?,
            repairs: IntCounter::new("portolan_proxy_foreign_changes_total", "Times that somebody else changed the rules and they were repaired")?,
            misfits: IntCounter::new("portolan_proxy_misfits_total", "Changes that the kernel refused, so that all rules were compared or written anew")?,
            table_full: IntCounter::new("portolan_proxy_conntrack_full_total", "Times that the kernel's table of connections became full")?,
            revisions: IntCounterVec::new(
                Opts::new("portolan_proxy_configuration_changes_total", "Changes of the configuration while the proxy runs"),
                &["outcome"],
            )?,
            connections: IntCounterVec::new(
                Opts::new("portolan_proxy_connections_total", "Connections begun, by Service port and endpoint, as the kernel counts them"),
                &["service", "endpoint"],
            )?,
            registry: Registry::new(),
            listener_counts: Arc::default(),
        };
        metrics.register()?;
        for family in FAMILIES {
            let zeros = [
                &metrics.nftables_failures,
                &metrics.nftables_cleanup_failures,
                &metrics.restore_failures,
                &metrics.partial_restore_failures,
                &metrics.deleted_flows,
                &metrics.localhost_failures,
            ];
            zeros.into_iter().for_each(|counter| drop(counter.with_label_values(&[family])));
            metrics.flows_duration.with_label_values(&[family]);
        }
        for revision in [RevisionOutcome::Applied, RevisionOutcome::Refused] {
            metrics.revisions.with_label_values(&[outcome(revision)]);
        }
        Ok(metrics)
    }

    fn register(&self) -> prometheus::Result<()> {
        self.collectors()?.into_iter().try_for_each(|collector| self.registry.register(collector))
    }

    fn collectors(&self) -> prometheus::Result<[Box<dyn Collector>; 33]> {
        Ok([
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
            Box::new(self.nftables_failures.clone()),
            Box::new(self.nftables_cleanup_failures.clone()),
            Box::new(self.restore_failures.clone()),
            Box::new(self.partial_restore_failures.clone()),
            Box::new(self.rules.clone()),
            Box::new(self.rules_last.clone()),
            Box::new(self.flows_duration.clone()),
            Box::new(self.deleted_flows.clone()),
            Box::new(self.healthz.clone()),
            Box::new(self.livez.clone()),
            Box::new(self.localhost_listeners.clone()),
            Box::new(self.localhost_failures.clone()),
            Box::new(self.invalid_packets.clone()),
            Box::new(self.localhost_packets.clone()),
            Box::new(self.problems.clone()),
            Box::new(self.repairs.clone()),
            Box::new(self.misfits.clone()),
            Box::new(self.table_full.clone()),
            Box::new(self.revisions.clone()),
            Box::new(self.connections.clone()),
            Box::new(
                Gauge::new("process_start_time_seconds", "When the process began, in seconds since 1970")
                    .inspect(|gauge| gauge.set(now()))?,
            ),
        ])
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
        if let Some(time) = report.flows_took {
            self.flows_duration.with_label_values(&[FAMILIES[0]]).observe(time.as_secs_f64());
        }
        self.partial_restore_failures.with_label_values(&[FAMILIES[0]]).inc_by(report.misfits as u64);
        self.misfits.inc_by(report.misfits as u64);
        self.endpoint_changes.pending.set(0);
        self.service_changes.pending.set(0);
        for trigger in triggers {
            let seconds = (Timestamp::now().as_nanosecond() - trigger.as_nanosecond()) as f64 / 1e9;
            self.programming.with_label_values(&[FAMILIES[0]]).observe(seconds.max(0.0));
            self.fine_programming.observe(seconds.max(0.0));
        }
    }

    /// Rules of a mode could not be programmed.
    pub(crate) fn failed(&self, mode: ModeName) {
        let failures = match mode {
            ModeName::Nftables => &self.nftables_failures,
            ModeName::Iptables | ModeName::Ipvs | ModeName::Userspace => &self.restore_failures,
        };
        FAMILIES.iter().for_each(|family| failures.with_label_values(&[family]).inc());
    }

    /// Rules of other modes could not be removed.
    pub(crate) fn cleanup_failed(&self) {
        FAMILIES.iter().for_each(|family| self.nftables_cleanup_failures.with_label_values(&[family]).inc());
    }

    /// The kernel's table of connections became full.
    pub(crate) fn table_full(&self) {
        self.table_full.inc();
    }

    /// The configuration changed.
    pub(crate) fn revised(&self, revision: RevisionOutcome) {
        self.revisions.with_label_values(&[outcome(revision)]).inc();
    }

    /// How many rules there are now.
    pub(crate) fn rules(&self, counts: &[RuleCount]) {
        for count in counts {
            let labels = [FAMILIES[usize::from(count.family == Family::V6)], count.table];
            self.rules.with_label_values(&labels).set(as_gauge(count.total));
            self.rules_last.with_label_values(&labels).set(as_gauge(count.last));
        }
    }

    /// Where listeners at loopback addresses are counted.
    pub(crate) fn listener_counts(&self) -> Arc<ListenerCounts> {
        self.listener_counts.clone()
    }

    /// How many Services have a policy Local without endpoints here.
    pub(crate) fn no_local_endpoints(&self, family: Family, policy: &str, count: usize) {
        self.no_local_endpoints
            .with_label_values(&[family.to_string().as_str(), policy])
            .set(as_gauge(count));
    }

    /// `/healthz` or `/livez` answered.
    pub(crate) fn answered(&self, question: Question, code: u16) {
        let counter = match question {
            Question::Healthz => &self.healthz,
            Question::Livez => &self.livez,
        };
        counter.with_label_values(&[code.to_string().as_str()]).inc();
    }

    /// The metrics of a mode in Prometheus' text format, version 0.0.4, with what the kernel counted.
    pub(crate) fn print(&self, mode: ModeName, counted: &Counted) -> String {
        self.connections.reset();
        for count in &counted.connections {
            let endpoint = count.endpoint.map(|endpoint| endpoint.to_string()).unwrap_or_default();
            let labels = [&*count.service, endpoint.as_str()];
            self.connections.with_label_values(&labels).inc_by(count.connections);
        }
        for counter in [&self.invalid_packets, &self.localhost_packets] {
            counter.reset();
            let names = counter.desc();
            let own =
                counted.packets.iter().filter(|(name, _)| names.iter().any(|desc| desc.fq_name == *name));
            own.for_each(|(_, packets)| counter.inc_by(*packets));
        }
        for family in Family::ALL {
            let (label, listener_counts) = (family.to_string(), self.listener_counts.of(family));
            self.localhost_listeners.with_label_values(&[&label]).set(as_gauge(listener_counts.listening()));
            let failures = self.localhost_failures.with_label_values(&[&label]);
            failures.reset();
            failures.inc_by(listener_counts.failures());
        }
        let mut families = self.registry.gather();
        families.retain(|family| of_modes::has(mode, family.name()));
        let mut text = Vec::new();
        // Writing to memory does not fail.
        let _ = TextEncoder::new().encode(&families, &mut text);
        String::from_utf8(text).unwrap_or_default()
    }
}

fn outcome(revision: RevisionOutcome) -> &'static str {
    match revision {
        RevisionOutcome::Applied => "applied",
        RevisionOutcome::Refused => "refused",
    }
}

fn as_gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
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

    fn printed(mode: ModeName) -> String {
        let metrics = Metrics::new().unwrap();
        metrics.change(ChangeOf::Endpoints);
        let report = Report { full: true, flows_took: Some(Duration::from_millis(1)), ..Report::default() };
        metrics.synced(&report, Duration::from_millis(3), &[Timestamp::now()]);
        metrics.synced(&Report::default(), Duration::from_millis(1), &[]);
        metrics.answered(Question::Healthz, 200);
        metrics.answered(Question::Livez, 503);
        metrics.no_local_endpoints(Family::V4, "internal", 2);
        metrics.rules(&[RuleCount { family: Family::V4, table: "nat", total: 50, last: 7 }]);
        let packets = vec![("kubeproxy_iptables_ct_state_invalid_dropped_packets_total", 3)];
        let text = metrics.print(mode, &Counted { packets: packets.clone(), ..Counted::default() });
        let again = metrics.print(mode, &Counted { packets, ..Counted::default() });
        assert_eq!(text, again, "what the kernel counted is not added to itself");
        text
    }

    /// Reference: the list of metrics in Kubernetes' `test/instrumentation`.
    #[test]
    fn metrics_have_the_names_that_dashboards_ask_for() {
        const ALL: [&str; 14] = [
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family=\"IPv4\",le=\"0.004\"} 2",
            "kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv6\"}",
            "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family=\"IPv4\"}",
            "kubeproxy_network_programming_duration_seconds_bucket{ip_family=\"IPv4\",le=\"0.25\"} 1",
            "kubeproxy_sync_proxy_rules_endpoint_changes_total 1",
            "kubeproxy_sync_proxy_rules_endpoint_changes_pending 0",
            "kubeproxy_sync_proxy_rules_service_changes_total 0",
            "kubeproxy_sync_proxy_rules_service_changes_pending 0",
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family=\"IPv4\",traffic_policy=\"internal\"} 2",
            "kubeproxy_proxy_healthz_total{code=\"200\"} 1",
            "kubeproxy_proxy_livez_total{code=\"503\"} 1",
            "kubeproxy_conntrack_reconciler_sync_duration_seconds_count{ip_family=\"IPv4\"} 1",
            "kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family=\"IPv4\"} 0",
            "portolan_proxy_configuration_changes_total{outcome=\"refused\"} 0",
        ];
        const NFTABLES: [&str; 6] = [
            "kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family=\"IPv6\"} 1",
            "kubeproxy_sync_partial_proxy_rules_duration_seconds_count{ip_family=\"IPv6\"} 1",
            "kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family=\"IPv4\"} 0",
            "kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total{ip_family=\"IPv4\"} 0",
            "kubeproxy_nftables_localhost_nodeport_listeners{ip_family=\"IPv4\"} 0",
            "kubeproxy_nftables_localhost_nodeport_listener_creation_failures_total{ip_family=\"IPv6\"} 0",
        ];
        const IPTABLES: [&str; 7] = [
            "kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family=\"IPv6\"} 1",
            "kubeproxy_sync_proxy_rules_iptables_restore_failures_total{ip_family=\"IPv4\"} 0",
            "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total{ip_family=\"IPv4\"} 0",
            "kubeproxy_sync_proxy_rules_iptables_total{ip_family=\"IPv4\",table=\"nat\"} 50",
            "kubeproxy_sync_proxy_rules_iptables_last{ip_family=\"IPv4\",table=\"nat\"} 7",
            "kubeproxy_iptables_ct_state_invalid_dropped_packets_total 3",
            "kubeproxy_iptables_localhost_nodeports_accepted_packets_total 0",
        ];
        for (mode, own, others) in [
            (ModeName::Nftables, NFTABLES.as_slice(), &IPTABLES[1..]),
            (ModeName::Iptables, IPTABLES.as_slice(), &NFTABLES[2..]),
            (ModeName::Ipvs, &IPTABLES[1..2], &IPTABLES[2..]),
        ] {
            let text = printed(mode);
            for line in ALL.iter().chain(own) {
                assert!(text.contains(line), "{line} is missing in mode {mode}:\n{text}");
            }
            for line in others {
                assert!(!text.contains(line), "{line} is shown in mode {mode}");
            }
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
