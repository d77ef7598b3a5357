//! Memory and processor time of an idle cluster with the tutorial applied.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Api;

use crate::cluster::{Cluster, PATIENCE};
use crate::prober::{Goal, reached};
use crate::process::{processor_time, status_kib, with_command_line};
use crate::{tutorial, watching};

/// The options of `bench memory`.
#[derive(Args)]
pub(crate) struct Options {
    /// Seconds to let the cluster settle, and then to watch it do nothing
    #[arg(long, default_value_t = 15)]
    settle: u64,
}

/// Measures and prints.
pub(crate) async fn run(program: &Path, options: &Options) -> anyhow::Result<()> {
    let mut cluster = Cluster::prepare(program)?;
    cluster.start()?;
    cluster.ready().await?;
    let client = cluster.client().await?;
    let empty = own(&cluster)?;
    let address = tutorial::apply(&client).await?;
    for manifest in tutorial::MORE_SERVICES {
        tutorial::create(&client, &tutorial::read::<Service>(manifest)?).await?;
    }
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    watching::until(pods, tutorial::LABEL, tutorial::REPLICAS, tutorial::pod_is_ready).await?;
    reached(&cluster.machine("node1")?, address, Goal::Answered, PATIENCE).await?;
    drop(client);
    tokio::time::sleep(Duration::from_secs(options.settle)).await;
    let pid = cluster.pid().context("the cluster does not run")?;
    let (begin, before) = (Instant::now(), processor_time(pid));
    tokio::time::sleep(Duration::from_secs(options.settle)).await;
    let idle = processor_time(pid).saturating_sub(before).as_secs_f64() * 1e3 / begin.elapsed().as_secs_f64();
    println!("memory in MiB, {} s after the tutorial was applied (3 nodes, 4 pods):", 2 * options.settle);
    println!("  {:36} {:>8} {:>8} {:>8} {:>8}", "", "RSS", "anon", "file", "peak");
    row("portolan up, just ready", &empty);
    row("portolan up, settled", &own(&cluster)?);
    let data_dir = cluster.data_dir();
    let runtimes = with_command_line(&data_dir.join("nodes").to_string_lossy());
    row(&format!("{} containerd", runtimes.len()), &sum(&runtimes));
    let shims = with_command_line("containerd-shim");
    let own_shims: Vec<u32> = shims.into_iter().filter(|pid| belongs(*pid, &data_dir)).collect();
    row(&format!("{} shims of pods", own_shims.len()), &sum(&own_shims));
    println!("processor time of portolan up while nothing happens: {idle:.2} ms per second");
    Ok(())
}

/// A shim runs in the folder of its task, below its containerd's state folder, which the
/// configuration of the cluster's containerds names.
fn belongs(pid: u32, data_dir: &Path) -> bool {
    let Ok(folder) = std::fs::read_link(format!("/proc/{pid}/cwd")) else { return false };
    let nodes = std::fs::read_dir(data_dir.join("nodes")).into_iter().flatten().flatten();
    let settings =
        nodes.filter_map(|node| std::fs::read_to_string(node.path().join("containerd/config.toml")).ok());
    let mut states = settings.filter_map(|text| {
        let line = text.lines().find(|line| line.trim_start().starts_with("state"))?;
        Some(line.split('"').nth(1)?.to_owned())
    });
    states.any(|state| folder.starts_with(state))
}

/// Four fields of `/proc/PID/status`, in KiB.
type Memory = [u64; 4];
const FIELDS: [&str; 4] = ["VmRSS", "RssAnon", "RssFile", "VmHWM"];

fn own(cluster: &Cluster) -> anyhow::Result<Memory> {
    Ok(sum(&[cluster.pid().context("the cluster does not run")?]))
}

fn sum(pids: &[u32]) -> Memory {
    FIELDS.map(|field| pids.iter().map(|pid| status_kib(*pid, field)).sum())
}

fn row(what: &str, memory: &Memory) {
    let [rss, anon, file, peak] = memory.map(|kib| kib as f64 / 1024.0);
    println!("  {what:36} {rss:8.1} {anon:8.1} {file:8.1} {peak:8.1}");
}
