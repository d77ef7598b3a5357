//! The Service proxy beside kube-proxy: the same objects from the same API server, one proxy after the other.
//!
//! Both tell by the same metric when their rules were programmed last, so both are measured by their own word.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use serde_json::{Value, json};

use crate::alone::{ApiServer, Place, call};
use crate::figures::Sample;
use crate::process::{Process, status_kib};

/// The options of `bench proxy`.
#[derive(Args)]
pub(crate) struct Options {
    /// How many Services
    #[arg(long, default_value_t = 10_000)]
    services: usize,
    /// How many endpoints each has
    #[arg(long, default_value_t = 3)]
    endpoints: usize,
    /// How many single changes are made and timed; kube-proxy's nftables mode gets a tenth, at least 3
    #[arg(long, default_value_t = 100)]
    changes: usize,
    /// Where the real kube-proxy is (`compat/peers.sh` builds it); without it only ours is measured
    #[arg(long, value_name = "FILE")]
    kube_proxy: Option<PathBuf>,
    /// Only these, such as `portolan/nftables`
    #[arg(long, value_name = "NAME/MODE", value_delimiter = ',')]
    only: Vec<String>,
}

/// Requests under way at once while the cluster is filled.
const WRITERS: usize = 32;
/// How long a proxy may take for its first rules.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long a proxy may take to answer; large clusters have large answers.
const ANSWER: Duration = Duration::from_secs(5);
/// What both proxies call the time of their last programming.
const LAST: &str = "kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"}";
const CHANGES: &str = "kubeproxy_sync_proxy_rules_endpoint_changes_total";
const PENDING: &str = "kubeproxy_sync_proxy_rules_endpoint_changes_pending";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

/// What is measured, in this order.
const PROXIES: [(&str, &str); 4] = [
    ("portolan", "nftables"),
    ("portolan", "iptables"),
    ("kube-proxy", "nftables"),
    ("kube-proxy", "iptables"),
];

/// Measures and prints.
pub(crate) fn run(program: &Path, options: &Options) -> anyhow::Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "rules need root; run this bench as root");
    let namespace = Place::new("bench-proxy")?;
    // Everything happens in the namespace, so the thread that starts it is there.
    namespace.0.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(measure(program, options))
    })?
}

async fn measure(program: &Path, options: &Options) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("portolan-bench-").tempdir()?;
    let server = ApiServer::start(program, folder.path()).await?;
    let (client, kubeconfig) = (&server.client, &server.kubeconfig);
    let begin = Instant::now();
    fill(client, options).await?;
    println!(
        "{} Services x {} endpoints, written in {:.1} s",
        options.services,
        options.endpoints,
        begin.elapsed().as_secs_f64()
    );
    println!("{:<22} {:>10} {:>24} {:>12} {:>10}", "", "first s", "change ms p50 / p99", "CPU s", "RSS MiB");
    for (round, (name, mode)) in PROXIES.into_iter().enumerate() {
        let wanted = options.only.is_empty() || options.only.contains(&format!("{name}/{mode}"));
        let proxy = match (name, &options.kube_proxy) {
            ("portolan", _) => program,
            (_, Some(program)) => program,
            (_, None) => continue,
        };
        if !wanted {
            continue;
        }
        let config = folder.path().join("proxy.yaml");
        fs::write(&config, configuration(mode, kubeconfig))?;
        let mut command = Command::new(proxy);
        if name == "portolan" {
            command.arg("proxy");
        }
        command.arg(format!("--config={}", config.display()));
        let changes = match (name, mode) {
            ("kube-proxy", "nftables") => (options.changes / 10).max(3),
            _ => options.changes,
        };
        let figures =
            one(client, command, options, round, changes).await.with_context(|| format!("{name}/{mode}"))?;
        println!("{:<22} {figures}", format!("{name} {mode}"));
        let cleanup = Command::new(program).args(["proxy", "--cleanup"]).stderr(Stdio::null()).status()?;
        ensure!(cleanup.success(), "the rules of {name} cannot be removed");
    }
    Ok(())
}

/// Writes all Services and slices, and the Node.
async fn fill(client: &Client, options: &Options) -> anyhow::Result<()> {
    let node = json!({"metadata": {"name": "bench"}, "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}});
    call(client, "POST", "/api/v1/nodes", &node).await?;
    let endpoints = options.endpoints;
    stream::iter(0..options.services)
        .map(|number| async move {
            let service =
                json!({"metadata": {"name": format!("s{number}")}, "spec": {"ports": [{"port": 80}]}});
            call(client, "POST", "/api/v1/namespaces/default/services", &service).await?;
            call(client, "POST", SLICES, &slice(number, endpoints, 0)).await
        })
        .buffer_unordered(WRITERS)
        .try_collect::<Vec<_>>()
        .await
        .map(drop)
}

/// The slice of a Service. Its first endpoint is another one in each version.
fn slice(number: usize, endpoints: usize, version: usize) -> Value {
    let address = |index: usize| {
        let place = number * endpoints + index;
        format!("10.{}.{}.{}", 100 + place / 62_500, place / 250 % 250, 1 + place % 250)
    };
    let mut addresses: Vec<_> = (0..endpoints).map(address).collect();
    if version > 0 {
        addresses[0] = format!("10.99.{}.{}", version / 250, 1 + version % 250);
    }
    let endpoints: Vec<_> = addresses
        .iter()
        .map(
            |address| json!({"addresses": [address], "conditions": {"ready": true}, "nodeName": "elsewhere"}),
        )
        .collect();
    json!({
        "metadata": {"name": format!("s{number}-1"), "labels": {"kubernetes.io/service-name": format!("s{number}")}},
        "addressType": "IPv4", "ports": [{"name": "", "port": 80, "protocol": "TCP"}], "endpoints": endpoints,
    })
}

fn configuration(mode: &str, kubeconfig: &Path) -> String {
    format!(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: {mode}\n\
         hostnameOverride: bench\nclusterCIDR: 10.0.0.0/8\nmetricsBindAddress: 127.0.0.1:10249\n\
         iptables: {{minSyncPeriod: 1ms}}\nnftables: {{minSyncPeriod: 1ms}}\n\
         conntrack: {{maxPerCore: 0, min: 0, tcpCloseWaitTimeout: 0s, tcpEstablishedTimeout: 0s}}\n\
         clientConnection: {{kubeconfig: {}, contentType: application/json, acceptContentTypes: application/json}}\n",
        kubeconfig.display()
    )
}

/// Starts a proxy, waits for its first rules, changes one endpoint after the other, and ends it.
async fn one(
    client: &Client,
    mut command: Command,
    options: &Options,
    round: usize,
    changes: usize,
) -> anyhow::Result<String> {
    let begin = now();
    let process = Arc::new(Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?);
    let id = process.0.id();
    let loaded = wait(Duration::from_millis(20), |metrics| metrics.last > begin).await?.last;
    // What it still does at its start is not part of the changes.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut times = Vec::new();
    for version in 1..=changes {
        let before = Metrics::read().await?;
        let number = version * 97 % options.services;
        let start = now();
        // Each run writes addresses that no other wrote, else nothing would change.
        let address = round * changes.max(options.changes) + version;
        let body = json!({"endpoints": slice(number, options.endpoints, address)["endpoints"]});
        call(client, "PATCH", &format!("{SLICES}/s{number}-1"), &body).await?;
        let done = |metrics: &Metrics| {
            metrics.last > start && metrics.changes > before.changes && metrics.pending == 0.0
        };
        let programmed = wait(Duration::from_millis(40), done).await?.last;
        times.push(Duration::from_secs_f64(programmed - start));
    }
    let sample = Sample::of_millis(times);
    Ok(format!(
        "{:>10.2} {:>24} {:>12.1} {:>10}",
        loaded - begin,
        format!("{:.2} / {:.2}", sample.median(), sample.quantile(0.99)),
        processor_seconds(id)?,
        status_kib(id, "VmRSS") / 1024,
    ))
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Processor time of a process and of those it waited for (proc(5), stat).
fn processor_seconds(id: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    let fields = stat.rsplit_once(") ").context("no stat")?.1.split_whitespace();
    // utime, stime, cutime and cstime, in ticks of a hundredth of a second.
    let ticks: f64 = fields.skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}

/// What a proxy says of itself.
#[derive(Debug, Clone, Copy, Default)]
struct Metrics {
    last: f64,
    changes: f64,
    pending: f64,
}

impl Metrics {
    async fn read() -> anyhow::Result<Self> {
        let text = tokio::time::timeout(ANSWER, get("127.0.0.1:10249", "/metrics")).await??;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            line.unwrap_or_default()
        };
        Ok(Self { last: value(LAST), changes: value(CHANGES), pending: value(PENDING) })
    }
}

async fn wait(step: Duration, done: impl Fn(&Metrics) -> bool) -> anyhow::Result<Metrics> {
    let begin = Instant::now();
    loop {
        tokio::time::sleep(step).await;
        match Metrics::read().await {
            Ok(metrics) if done(&metrics) => return Ok(metrics),
            _ if begin.elapsed() > PATIENCE => bail!("the proxy programs nothing"),
            _ => {}
        }
    }
}

/// The body of an answer over HTTP.
async fn get(address: &str, path: &str) -> anyhow::Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
