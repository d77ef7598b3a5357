//! `docs/reference/metrics-dns.md`, made from the metrics themselves.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use prometheus::proto::LabelPair;

use super::{Counted, Metrics};
use crate::cache::CacheMetrics;
use crate::client::Transport;
use crate::forward::ForwardMetrics;
use crate::plugin;

const HEAD: &str = "\
# Metrics of portolan dns

At the address of the directive `prometheus` (`:9153/metrics` in kubeadm's Corefile). Names that begin with `coredns_` are
CoreDNS' and mean what they mean there. Made from the program itself; after a change of a metric
`UPDATE_DOCS=1 cargo test --package dns reference` writes it anew.

| metric | type | labels | meaning |
|---|---|---|---|
";

/// The metrics of a server to which everything that is counted has happened once.
fn metrics() -> Metrics {
    let metrics = Metrics::new(plugin::NAMES);
    metrics.programmed("cluster_ip", Duration::ZERO);
    metrics.enable("dns://:53", ".", &["cache"]);
    let counted = Counted {
        transport: Transport::Udp,
        v6: false,
        kind: 1,
        dnssec_ok: true,
        rcode: 0,
        plugin: None,
        asked: 40,
        answered: 100,
    };
    metrics.counts("dns://:53", ".", 1).count(0, &counted, Duration::ZERO);
    let forward = ForwardMetrics::new(&metrics);
    drop(CacheMetrics::new(&metrics).of("dns://:53", "."));
    forward.touch();
    metrics
}

fn page() -> String {
    let metrics = metrics();
    metrics.registry.gather().iter().fold(HEAD.to_owned(), |mut text, family| {
        let labels: Vec<&str> = family.get_metric()[0].get_label().iter().map(LabelPair::name).collect();
        let kind = format!("{:?}", family.get_field_type()).to_lowercase();
        writeln!(text, "| `{}` | {kind} | {} | {} |", family.name(), labels.join(", "), family.help())
            .unwrap();
        text
    })
}

#[test]
fn the_reference_of_metrics_is_what_the_server_has() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics-dns.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, page()).unwrap();
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), page(), "UPDATE_DOCS=1 cargo test -p dns reference");
}
