//! `docs/reference/metrics-proxy.md`, made from the metrics themselves.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::{Metrics, of_modes};
use crate::config::ModeName;

const HEAD: &str = "\
# Metrics of portolan proxy

At `127.0.0.1:10249/metrics` (`--metrics-bind-address`). Names that begin with `kubeproxy_` are kube-proxy's and mean what
they mean there. Made from the program itself; after a change of a metric
`UPDATE_DOCS=1 cargo test --package proxy reference` writes it anew.

| metric | type | labels | meaning | modes |
|---|---|---|---|---|
";

const MODES: [ModeName; 4] = [ModeName::Nftables, ModeName::Iptables, ModeName::Ipvs, ModeName::Userspace];

fn page() -> String {
    let metrics = Metrics::new().unwrap();
    let mut rows: Vec<String> = metrics
        .collectors()
        .unwrap()
        .iter()
        .flat_map(|collector| {
            let labels = collector.desc()[0].variable_labels.join(", ");
            let row = move |family: prometheus::proto::MetricFamily| {
                let modes = MODES.map(|mode| of_modes::has(mode, family.name()).then(|| mode.to_string()));
                let modes: Vec<String> = modes.into_iter().flatten().collect();
                let modes = if modes.len() == MODES.len() { "all".to_owned() } else { modes.join(", ") };
                let kind = format!("{:?}", family.get_field_type()).to_lowercase();
                format!("| `{}` | {kind} | {labels} | {} | {modes} |", family.name(), family.help())
            };
            collector.collect().into_iter().map(row).collect::<Vec<_>>()
        })
        .collect();
    rows.sort();
    rows.iter().fold(HEAD.to_owned(), |mut text, row| {
        writeln!(text, "{row}").unwrap();
        text
    })
}

#[test]
fn the_reference_of_metrics_is_what_the_proxy_has() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics-proxy.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, page()).unwrap();
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), page(), "UPDATE_DOCS=1 cargo test -p proxy reference");
}
