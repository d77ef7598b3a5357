//! From a proxy's start to its first rules, and from one changed endpoint to its rules.

use std::path::Path;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Client;

use super::Options;
use super::ground::{Ground, Shape, change};
use super::subject::{Running, Subject, files, programmed_after, seconds, syncs};
use crate::figures::Sample;

/// What is measured, in this order.
const PROXIES: [(&str, &str); 4] = [
    ("portolan", "nftables"),
    ("portolan", "iptables"),
    ("kube-proxy", "nftables"),
    ("kube-proxy", "iptables"),
];

/// Measures each proxy and mode and prints a table.
pub(super) fn run(program: &Path, options: &Options) -> anyhow::Result<()> {
    let shape = Shape { services: options.services, endpoints: options.endpoints };
    let ground = Ground::new(program, shape)?;
    header();
    for (round, (name, mode)) in PROXIES.into_iter().enumerate() {
        let wanted = options.only.is_empty() || options.only.contains(&format!("{name}/{mode}"));
        let proxy = if name == "portolan" { Some(program) } else { options.kube_proxy.as_deref() };
        let Some(program) = proxy.filter(|_| wanted) else { continue };
        let changes = match (name, mode) {
            ("kube-proxy", "nftables") => (options.changes / 10).max(3),
            _ => options.changes,
        };
        // Each run writes addresses that no other wrote, else nothing would change.
        let versions = round * options.changes + 1..=round * options.changes + changes;
        measure(&ground, Subject { name, mode, program }, versions)?;
        ground.cleanup()?;
    }
    Ok(())
}

/// Prints what the columns of [`measure`] are.
pub(super) fn header() {
    println!(
        "{:<24} {:>9} {:>22} {:>14} {:>9} {:>11} {:>8}",
        "", "first s", "change ms p50 / p99", "of it rules ms", "CPU s", "ms/change", "RSS MB"
    );
}

/// Starts a proxy, makes changes, prints its line; returns the time that programming one change takes, in ms.
pub(super) fn measure(
    ground: &Ground,
    subject: Subject<'_>,
    versions: std::ops::RangeInclusive<usize>,
) -> anyhow::Result<f64> {
    let (folder, kubeconfig) = files(ground);
    let shape = ground.shape;
    ground.run(async move |client| {
        let running = subject.start((&folder, &kubeconfig)).await?;
        // What it still does at its start is not part of the changes.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (loading, memory) = (running.processor_seconds()?, running.megabytes("VmRSS"));
        let made = make(&client, &running, shape, versions).await?;
        println!(
            "{:<24} {:>9.2} {:>22} {:>14.2} {loading:>9.2} {:>11.1} {memory:>8.1}",
            format!("{} {}", subject.name, subject.mode),
            running.first,
            format!("{:.2} / {:.2}", made.times.median(), made.times.quantile(0.99)),
            made.rules,
            made.processor,
        );
        Ok(made.rules)
    })
}

struct Made {
    /// From a request to change an endpoint to the rules, in ms.
    times: Sample,
    /// What a proxy itself says that it took for one, on average, in ms.
    rules: f64,
    /// Processor time for one, with that of its children, in ms.
    processor: f64,
}

/// Changes one endpoint after the other.
async fn make(
    client: &Client,
    running: &Running,
    shape: Shape,
    versions: std::ops::RangeInclusive<usize>,
) -> anyhow::Result<Made> {
    let before = syncs().await?;
    let processor = running.processor_seconds()?;
    let mut times = Vec::new();
    for version in versions {
        // Not those that must go on answering.
        let number = 1 + version * 97 % (shape.services / 2 - 1);
        let start = Timestamp::now();
        change(client, shape, number, version).await?;
        let done = programmed_after(start, Duration::from_millis(15)).await?;
        times.push(Duration::from_secs_f64(seconds(start, done)));
    }
    let count = times.len() as f64;
    let processor = (running.processor_seconds()? - processor) * 1e3 / count;
    let after = syncs().await?;
    let rules = (after.0 - before.0) * 1e3 / (after.1 - before.1).max(1.0);
    Ok(Made { times: Sample::of_millis(times), rules, processor })
}
