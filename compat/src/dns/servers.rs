//! Starting one server or the other with a Corefile.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::dns::corefile::{Case, Places};
use crate::process::{Process, is_well, last_words};

/// How long a server may take to be ready.
const PATIENCE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(20);
/// How often another port is tried.
const TRIES: usize = 100;

/// Where a server has its objects from.
#[derive(Debug, Clone)]
pub enum Source {
    /// An API server, by its kubeconfig.
    Cluster(PathBuf),
    /// A file of objects; only ours has this.
    File(PathBuf),
}

/// A running server, which ends with its value.
#[derive(Debug)]
pub struct Server {
    _process: Process,
    /// Where it answers.
    pub address: SocketAddr,
}

/// CoreDNS, in the network namespace of the calling thread.
///
/// # Errors
/// What it says when it does not start.
pub fn coredns(
    program: &Path,
    case: &Case,
    upstream: SocketAddr,
    kubeconfig: &Path,
    folder: &Path,
) -> anyhow::Result<Server> {
    let line = format!("kubeconfig {} compat", kubeconfig.display());
    let mut command = Command::new(program);
    start(&mut command, "-conf", case, upstream, &line, &folder.join("coredns"))
}

/// Ours, in the network namespace of the calling thread.
///
/// # Errors
/// What it says when it does not start.
pub fn ours(
    program: &Path,
    case: &Case,
    upstream: SocketAddr,
    source: &Source,
    folder: &Path,
) -> anyhow::Result<Server> {
    let mut command = Command::new(program);
    command.arg("dns");
    match source {
        Source::Cluster(file) => command.arg("--kubeconfig").arg(file),
        Source::File(file) => command.arg("-f").arg(file),
    };
    start(&mut command, "--conf", case, upstream, "", &folder.join("portolan"))
}

fn start(
    command: &mut Command,
    flag: &str,
    case: &Case,
    upstream: SocketAddr,
    kubeconfig: &str,
    file: &Path,
) -> anyhow::Result<Server> {
    let address = SocketAddr::new(case.address, free_port(case.address)?);
    let ready = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(Ipv4Addr::LOCALHOST.into())?));
    let corefile = file.with_extension("corefile");
    fs::write(&corefile, case.text(&Places { server: address, ready, upstream, kubeconfig }))?;
    let log = file.with_extension("log");
    let mut process = Process::start(command.arg(flag).arg(corefile), &log)?;
    let begin = Instant::now();
    while !(is_well(ready, "/ready") || says_ready(&log)) {
        if process.has_ended() || begin.elapsed() > PATIENCE {
            bail!("{} is not ready: {}", file.display(), last_words(&log));
        }
        std::thread::sleep(STEP);
    }
    Ok(Server { _process: process, address })
}

/// Whether it printed so, as ours does.
fn says_ready(log: &Path) -> bool {
    fs::read_to_string(log).is_ok_and(|text| text.lines().any(|line| line == "ready"))
}

/// A port that is free for UDP and TCP. It is none that the system gives to clients, which may hold theirs a while.
///
/// # Errors
/// There is none.
pub fn free_port(address: IpAddr) -> anyhow::Result<u16> {
    let mut ports = (0..TRIES).map(|_| fastrand::u16(10_000..30_000));
    let is_free =
        |port: &u16| UdpSocket::bind((address, *port)).is_ok() && TcpListener::bind((address, *port)).is_ok();
    ports.find(is_free).with_context(|| format!("{address} has no free port"))
}
