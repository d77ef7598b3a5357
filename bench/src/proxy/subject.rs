//! A proxy that is measured, and what it says of itself.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::ground::Ground;
use crate::process::{Process, status_kib};

/// How long a proxy may take for its rules.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long a proxy may take to answer; it may be busy, and large clusters have large answers.
const ANSWER: Duration = Duration::from_secs(60);
/// When a program programmed rules last, by its own metric, in seconds since 1970.
const LAST: &str = "kubeproxy_sync_proxy_rules_last_timestamp_seconds";
/// The time that a program took for each change, by its own metric.
const SYNCS: &str = "kubeproxy_sync_proxy_rules_duration_seconds";

/// Which proxy, and how it works.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) name: &'static str,
    pub(super) mode: &'static str,
    pub(super) program: &'a Path,
}

/// A proxy at work in a ground's node. Ends with its value; its rules stay.
pub(super) struct Running {
    process: Process,
    /// Seconds from its start to its first rules.
    pub(super) first: f64,
}

impl Subject<'_> {
    /// Starts it and waits for its first rules; call it in the node.
    pub(super) async fn start(self, ground: (&Path, &Path)) -> anyhow::Result<Running> {
        let (folder, kubeconfig) = ground;
        let config = folder.join("proxy.yaml");
        fs::write(&config, configuration(self.mode, kubeconfig))?;
        let mut command = Command::new(self.program);
        if self.name == "portolan" {
            command.arg("proxy");
        }
        command.arg(format!("--config={}", config.display()));
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", old_tables(folder)?));
        let begin = Timestamp::now();
        let process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
        let done = programmed_after(begin, Duration::from_millis(10)).await;
        let mut done = done.with_context(|| format!("{} {}", self.name, self.mode))?;
        if self.name == "kube-proxy" {
            // Its health says from the start that rules are up to date.
            done = first_sync(begin).await?;
        }
        Ok(Running { process, first: seconds(begin, done) })
    }
}

/// Where the node of a ground has its files.
pub(super) fn files(ground: &Ground) -> (std::path::PathBuf, std::path::PathBuf) {
    (ground.folder().to_owned(), ground.kubeconfig())
}

/// A folder that makes `iptables` those for the kernel's old tables, which load large rulesets fast.
fn old_tables(folder: &Path) -> anyhow::Result<String> {
    let programs = folder.join("programs");
    if !programs.exists() {
        fs::create_dir(&programs)?;
        for family in ["iptables", "ip6tables"] {
            for part in ["", "-save", "-restore"] {
                let target = format!("/usr/sbin/{family}-legacy{part}");
                std::os::unix::fs::symlink(target, programs.join(format!("{family}{part}")))?;
            }
        }
    }
    Ok(programs.display().to_string())
}

impl Running {
    /// Processor time of the process and of those it waited for, in seconds (proc(5), stat).
    pub(super) fn processor_seconds(&self) -> anyhow::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.0.id()))?;
        let fields = stat.rsplit_once(") ").context("no stat")?.1.split_whitespace();
        // utime, stime, cutime and cstime, in ticks of a hundredth of a second.
        let ticks: f64 = fields.skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum();
        Ok(ticks / 100.0)
    }

    /// A field of its `/proc/PID/status` in MB (of a million bytes).
    pub(super) fn megabytes(&self, field: &str) -> f64 {
        status_kib(self.process.0.id(), field) as f64 * 1024.0 / 1e6
    }
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

/// Seconds from one time to another.
pub(super) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    (to.as_nanosecond() - from.as_nanosecond()) as f64 / 1e9
}

/// Waits until rules were programmed after this time, and says when. Asks in such steps.
pub(super) async fn programmed_after(begin: Timestamp, step: Duration) -> anyhow::Result<Timestamp> {
    let since = Instant::now();
    loop {
        tokio::time::sleep(step).await;
        match programmed().await {
            Ok(Some(last)) if last > begin => return Ok(last),
            _ if since.elapsed() > PATIENCE => bail!("the proxy programs nothing"),
            _ => {}
        }
    }
}

/// When rules of IPv4 were last programmed.
async fn programmed() -> anyhow::Result<Option<Timestamp>> {
    let health: Value = serde_json::from_str(&get("127.0.0.1:10256", "/healthz").await?)?;
    Ok(health["status"]["IPv4"]["lastUpdated"].as_str().and_then(|time| time.parse().ok()))
}

/// When rules were programmed for the first time, as the metrics say.
async fn first_sync(begin: Timestamp) -> anyhow::Result<Timestamp> {
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let last = metrics().await.map(|text| ipv4_value(&text, LAST)).unwrap_or_default();
        let last = Timestamp::from_nanosecond((last * 1e9) as i128)?;
        if last > begin {
            return Ok(last);
        }
    }
    bail!("the proxy programs nothing")
}

/// Seconds that it was at work with changes, and how many times.
pub(super) async fn syncs() -> anyhow::Result<(f64, f64)> {
    let text = metrics().await?;
    Ok((ipv4_value(&text, &format!("{SYNCS}_sum")), ipv4_value(&text, &format!("{SYNCS}_count"))))
}

/// The value of a metric for IPv4; 0 if there is none.
fn ipv4_value(text: &str, name: &str) -> f64 {
    let mut lines = text.lines().filter(|line| line.starts_with(name) && line.contains("IPv4"));
    lines.next().and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}

/// All its metrics.
pub(super) async fn metrics() -> anyhow::Result<String> {
    get("127.0.0.1:10249", "/metrics").await
}

/// The body of an answer over HTTP.
async fn get(address: &str, path: &str) -> anyhow::Result<String> {
    let asked = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    };
    tokio::time::timeout(ANSWER, asked).await?
}
