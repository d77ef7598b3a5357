//! Counting queries on many threads: each thread writes its own counters, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::proto::{Bucket, Counter, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use crate::client::Transport;
use crate::wire::{kind, rcode};

/// The types of questions that are counted apart; the last one stands for all others.
const KINDS: [u16; 16] = [
    kind::A,
    kind::AAAA,
    kind::SRV,
    kind::PTR,
    kind::CNAME,
    kind::TXT,
    kind::SOA,
    kind::NS,
    kind::MX,
    kind::HTTPS,
    kind::NAPTR,
    kind::DS,
    kind::DNSKEY,
    kind::AXFR,
    kind::ANY,
    0,
];
/// The response codes that are counted apart; the last one stands for all others.
const CODES: [&str; 7] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "other"];
/// The most plugins that can be counted apart.
pub(crate) const MOST_PLUGINS: usize = 39;
/// The number of upper bounds of durations: the first is [`SHORTEST`], and each is twice the one before.
const DURATIONS: usize = 16;
/// The shortest upper bound of durations, in nanoseconds.
const SHORTEST: u64 = 250_000;
/// The upper bounds of sizes, in bytes.
const SIZES: [u64; 14] = [0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16_000, 32_000, 48_000, 64_000];

/// A query and its reply, as they are counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    /// The transport.
    pub(crate) transport: Transport,
    /// Whether the client has an IPv6 address.
    pub(crate) v6: bool,
    /// The type asked for.
    pub(crate) kind: u16,
    /// Whether DNSSEC records are wanted.
    pub(crate) dnssec_ok: bool,
    /// The response code.
    pub(crate) rcode: u16,
    /// The row of the plugin that answered in the table of plugins, below [`MOST_PLUGINS`]; `None` if none did.
    pub(crate) plugin: Option<usize>,
    /// The size of the query, in bytes.
    pub(crate) asked: usize,
    /// The size of the reply, in bytes.
    pub(crate) answered: usize,
}

/// The counters of the queries for one zone, a set for each thread.
#[derive(Debug)]
pub(crate) struct Counts {
    slots: Box<[ThreadCounters]>,
}

/// The counters that one thread writes; the first set is written by all tasks with atomic additions. Sets do not share
/// cache lines, so processors do not wait for each other.
#[derive(Debug)]
#[repr(align(128))]
struct ThreadCounters {
    /// By transport, family and type.
    requests: [[[AtomicU64; KINDS.len()]; 2]; 2],
    /// By plugin and response code; those that no plugin answered come first.
    responses: [[AtomicU64; CODES.len()]; MOST_PLUGINS + 1],
    dnssec_ok: AtomicU64,
    durations: [AtomicU64; DURATIONS + 1],
    nanoseconds: AtomicU64,
    /// By transport.
    asked: [SizeHistogram; 2],
    answered: [SizeHistogram; 2],
}

#[derive(Debug, Default)]
struct SizeHistogram {
    buckets: [AtomicU64; SIZES.len() + 1],
    bytes: AtomicU64,
}

impl Counts {
    /// Counters for threads with numbers up to `threads`, and for tasks.
    pub(crate) fn new(threads: usize) -> Self {
        Self { slots: (0..=threads).map(|_| ThreadCounters::new()).collect() }
    }

    /// Counts a query on the thread with this number; 0 is any task.
    pub(crate) fn count(&self, thread: usize, counted: &Counted, took: Duration) {
        let thread = if thread < self.slots.len() { thread } else { 0 };
        match thread {
            0 => self.slots[0].count(counted, took, add_shared),
            thread => self.slots[thread].count(counted, took, add_own),
        }
    }

    fn sum(&self, of: impl Fn(&ThreadCounters) -> &AtomicU64) -> u64 {
        self.slots.iter().map(|slot| of(slot).load(Ordering::Relaxed)).sum()
    }
}

impl ThreadCounters {
    fn new() -> Self {
        Self {
            requests: Default::default(),
            responses: std::array::from_fn(|_| Default::default()),
            dnssec_ok: AtomicU64::default(),
            durations: Default::default(),
            nanoseconds: AtomicU64::default(),
            asked: Default::default(),
            answered: Default::default(),
        }
    }

    fn count(&self, counted: &Counted, took: Duration, add: impl Fn(&AtomicU64, u64)) {
        let transport = usize::from(counted.transport != Transport::Udp);
        let kind = KINDS.iter().position(|kind| *kind == counted.kind).unwrap_or(KINDS.len() - 1);
        add(&self.requests[transport][usize::from(counted.v6)][kind], 1);
        let code = usize::from(counted.rcode & 0xF).min(CODES.len() - 1);
        let plugin = counted.plugin.map_or(0, |row| row + 1).min(MOST_PLUGINS);
        add(&self.responses[plugin][code], 1);
        if counted.dnssec_ok {
            add(&self.dnssec_ok, 1);
        }
        let nanoseconds = took.as_nanos() as u64;
        let doublings = nanoseconds.div_ceil(SHORTEST).max(1).next_power_of_two().trailing_zeros();
        add(&self.durations[(doublings as usize).min(DURATIONS)], 1);
        add(&self.nanoseconds, nanoseconds);
        for (sizes, bytes) in
            [(&self.asked[transport], counted.asked), (&self.answered[transport], counted.answered)]
        {
            let bytes = bytes as u64;
            add(&sizes.buckets[SIZES.partition_point(|bound| *bound < bytes)], 1);
            add(&sizes.bytes, bytes);
        }
    }
}

/// Adds to a counter that only this thread writes.
fn add_own(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// Adds to a counter that several threads write.
fn add_shared(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// The counters of all zones as metrics of Prometheus. `plugins` are the names of plugins by row.
pub(super) fn families<'a>(
    all: impl Iterator<Item = (&'a str, &'a str, &'a Counts)>,
    plugins: &[&str],
) -> Vec<MetricFamily> {
    let mut requests = family("coredns_dns_requests_total", "Queries by type.", MetricType::COUNTER);
    let mut responses =
        family("coredns_dns_responses_total", "Replies by response code.", MetricType::COUNTER);
    let mut wanted =
        family("coredns_dns_do_requests_total", "Queries for DNSSEC records.", MetricType::COUNTER);
    let mut durations = family(
        "coredns_dns_request_duration_seconds",
        "How long queries took to answer.",
        MetricType::HISTOGRAM,
    );
    let mut asked = family("coredns_dns_request_size_bytes", "Sizes of queries.", MetricType::HISTOGRAM);
    let mut answered = family("coredns_dns_response_size_bytes", "Sizes of replies.", MetricType::HISTOGRAM);
    for (server, zone, counts) in all {
        let base = [("server", server), ("zone", zone), ("view", "")];
        for (at, proto) in ["udp", "tcp"].into_iter().enumerate() {
            for (v6, family) in ["1", "2"].into_iter().enumerate() {
                for (index, code) in KINDS.iter().enumerate() {
                    let name = kind::name(*code).unwrap_or("other");
                    let count = counts.sum(|slot| &slot.requests[at][v6][index]);
                    let labels = [&base[..], &[("proto", proto), ("family", family), ("type", name)]];
                    requests.extend(counter(&labels.concat(), count));
                }
            }
            let labels = [&base[..], &[("proto", proto)]].concat();
            asked.extend(sizes(&labels, counts, |slot| &slot.asked[at]));
            answered.extend(sizes(&labels, counts, |slot| &slot.answered[at]));
        }
        for (at, plugin) in [""].iter().chain(plugins).enumerate() {
            for (code, rcode) in CODES.iter().enumerate() {
                let count = counts.sum(|slot| &slot.responses[at][code]);
                let labels = [&base[..], &[("rcode", *rcode), ("plugin", *plugin)]];
                responses.extend(counter(&labels.concat(), count));
            }
        }
        wanted.extend(counter(&base, counts.sum(|slot| &slot.dnssec_ok)));
        let bounds: Vec<_> = (0..DURATIONS).map(|power| (SHORTEST << power) as f64 / 1e9).collect();
        let buckets: Vec<_> = (0..=DURATIONS).map(|at| counts.sum(|slot| &slot.durations[at])).collect();
        let sum = counts.sum(|slot| &slot.nanoseconds) as f64 / 1e9;
        durations.extend(histogram(&base, &bounds, &buckets, sum));
    }
    [requests, responses, wanted, durations, asked, answered]
        .into_iter()
        .filter(|family| !family.metrics.is_empty())
        .map(Family::finish)
        .collect()
}

struct Family {
    family: MetricFamily,
    metrics: Vec<Metric>,
}

impl Family {
    fn extend(&mut self, metric: Option<Metric>) {
        self.metrics.extend(metric);
    }

    fn finish(mut self) -> MetricFamily {
        self.family.set_metric(self.metrics);
        self.family
    }
}

fn family(name: &str, help: &str, kind: MetricType) -> Family {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    Family { family, metrics: Vec::new() }
}

fn labelled(labels: &[(&str, &str)]) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    let mut metric = Metric::default();
    metric.set_label(pairs.collect());
    metric
}

/// A counter, left out while it is zero.
fn counter(labels: &[(&str, &str)], value: u64) -> Option<Metric> {
    (value > 0).then(|| {
        let mut counter = Counter::default();
        counter.set_value(value as f64);
        let mut metric = labelled(labels);
        metric.set_counter(counter);
        metric
    })
}

fn sizes(
    labels: &[(&str, &str)],
    counts: &Counts,
    of: impl Fn(&ThreadCounters) -> &SizeHistogram,
) -> Option<Metric> {
    let bounds = SIZES.map(|bound| bound as f64);
    let buckets: Vec<_> = (0..=SIZES.len()).map(|at| counts.sum(|slot| &of(slot).buckets[at])).collect();
    histogram(labels, &bounds, &buckets, counts.sum(|slot| &of(slot).bytes) as f64)
}

/// A histogram, left out while it is empty. `buckets` has one more element than `bounds`, for larger values.
fn histogram(labels: &[(&str, &str)], bounds: &[f64], buckets: &[u64], sum: f64) -> Option<Metric> {
    let mut seen = 0;
    let cumulative = bounds.iter().zip(buckets).map(|(bound, count)| {
        seen += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(seen);
        bucket
    });
    let cumulative = cumulative.collect();
    let total = buckets.iter().sum::<u64>();
    (total > 0).then(|| {
        let mut histogram = Histogram::default();
        histogram.set_bucket(cumulative);
        histogram.set_sample_count(total);
        histogram.set_sample_sum(sum);
        let mut metric = labelled(labels);
        metric.set_histogram(histogram);
        metric
    })
}

// The codes in the list are numbered from 0 without a gap.
const _: () = assert!(rcode::REFUSED as usize == CODES.len() - 2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_counted_on_each_thread_and_summed() {
        let counts = Counts::new(2);
        let counted = Counted {
            transport: Transport::Udp,
            v6: false,
            kind: kind::A,
            dnssec_ok: true,
            rcode: rcode::NXDOMAIN,
            plugin: Some(2),
            asked: 40,
            answered: 100,
        };
        for thread in [0, 1, 2, 9] {
            counts.count(thread, &counted, Duration::from_micros(300));
        }
        assert_eq!(counts.sum(|slot| &slot.requests[0][0][0]), 4);
        assert_eq!(counts.sum(|slot| &slot.responses[3][3]), 4);
        assert_eq!(counts.sum(|slot| &slot.durations[1]), 4, "from 0.25 to 0.5 ms");
        assert_eq!(counts.sum(|slot| &slot.answered[0].buckets[1]), 4, "to 100 bytes");
    }
}
