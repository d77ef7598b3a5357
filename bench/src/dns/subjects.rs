//! The servers that are measured, and the upstream of those that forward.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::bail;

use super::instructions;
use super::records::{self, Records};
use crate::process::{Process, free_port};

/// How long a server may take for its first answer.
const PATIENCE: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_millis(5);
/// Where the upstream is.
const UPSTREAM: u16 = 5300;

/// A program that can be measured.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// Ours.
    Portolan(PathBuf),
    /// CoreDNS with the kubernetes plugin.
    CoreDns(PathBuf),
    /// NSD with a zone file.
    Nsd(PathBuf),
}

/// How a program is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How<'a> {
    /// With a cache over everything, as kubeadm writes it.
    Cached,
    /// Without a cache in front of the cluster's names.
    WithoutCache,
    /// With a cache, its instructions counted into files of this folder.
    Counted(&'a Path),
}

/// A running server, which ends with its value.
#[derive(Debug)]
pub(super) struct Subject {
    /// Its word.
    pub(super) name: &'static str,
    /// Where it answers.
    pub(super) address: SocketAddr,
    /// How long its first answer took from its start.
    pub(super) started: Duration,
    process: Process,
}

impl Subject {
    /// The process; NSD's children belong to it.
    pub(super) fn id(&self) -> u32 {
        self.process.0.id()
    }
}

impl Kind {
    /// Its word.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Portolan(_) => "portolan",
            Self::CoreDns(_) => "coredns",
            Self::Nsd(_) => "nsd",
        }
    }

    /// Whether it watches an API server.
    pub(super) fn watches(&self) -> bool {
        !matches!(self, Self::Nsd(_))
    }

    /// Starts it in the network namespace of the calling thread and waits until it knows the records.
    ///
    /// # Errors
    /// It is not there or never answers.
    pub(super) async fn start(
        &self,
        folder: &Path,
        kubeconfig: &Path,
        records: Records,
        how: How<'_>,
    ) -> anyhow::Result<Subject> {
        let port = free_port()?;
        let cached = how != How::WithoutCache;
        let corefile = folder.join(self.name()).with_extension("corefile");
        let mut command = match self {
            Self::Portolan(program) => {
                fs::write(&corefile, self::corefile(port, "", cached))?;
                let mut command = Command::new(program);
                command.args(["dns", "--kubeconfig"]).arg(kubeconfig).arg("--conf").arg(corefile);
                command
            }
            Self::CoreDns(program) => {
                let line = format!("kubeconfig {}", kubeconfig.display());
                fs::write(&corefile, self::corefile(port, &line, cached))?;
                let mut command = Command::new(program);
                command.arg("-conf").arg(corefile);
                command
            }
            Self::Nsd(program) => {
                let mut zones = vec![("cluster.local", records.zone())];
                zones.extend(records::outside());
                nsd(program, port, &folder.join("nsd"), &zones)?
            }
        };
        if let How::Counted(counts) = how {
            command = instructions::counted(&command, counts)?;
        }
        start(self.name(), &mut command, port, &folder.join(self.name()).with_extension("log"), |address| {
            knows(address, "s0.n0.svc.cluster.local")
        })
        .await
    }
}

/// NSD with the names that are not the cluster's.
pub(super) async fn upstream(program: &Path, folder: &Path) -> anyhow::Result<Subject> {
    let mut command = nsd(program, UPSTREAM, &folder.join("upstream"), &records::outside())?;
    start("upstream", &mut command, UPSTREAM, &folder.join("upstream.log"), |address| {
        knows(address, "w0.example.com")
    })
    .await
}

async fn start(
    name: &'static str,
    command: &mut Command,
    port: u16,
    log: &Path,
    is_ready: impl Fn(SocketAddr) -> bool,
) -> anyhow::Result<Subject> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let file = fs::File::create(log)?;
    let begin = Instant::now();
    let mut process = Process::start(command.stdout(file.try_clone()?).stderr(Stdio::from(file)))?;
    while !is_ready(address) {
        if begin.elapsed() > PATIENCE || !matches!(process.0.try_wait(), Ok(None)) {
            bail!("{name} does not answer: {}", fs::read_to_string(log).unwrap_or_default());
        }
        tokio::time::sleep(STEP).await;
    }
    Ok(Subject { name, address, started: begin.elapsed(), process })
}

/// Whether the server has an address for this name.
pub(super) fn knows(server: SocketAddr, name: &str) -> bool {
    let asked = || -> std::io::Result<bool> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        has_answer(&socket, name)
    };
    asked().unwrap_or(false)
}

/// Asks for the address of a name over a connected socket, and tells whether there is one.
pub(super) fn has_answer(socket: &UdpSocket, name: &str) -> std::io::Result<bool> {
    let mut query = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    socket.send(&query)?;
    let mut reply = [0; 512];
    let length = socket.recv(&mut reply)?;
    Ok(length >= 12 && reply[3] & 15 == 0 && reply[6..8] != [0, 0])
}

/// What kubeadm writes, at one address, with a cache over everything or none.
fn corefile(port: u16, kubeconfig: &str, cached: bool) -> String {
    let cache = if cached { "cache 30" } else { "" };
    format!(
        ".:{port} {{\nbind 127.0.0.1\nerrors\n\
         kubernetes cluster.local in-addr.arpa ip6.arpa {{\n{kubeconfig}\npods insecure\n\
         fallthrough in-addr.arpa ip6.arpa\nttl 30\n}}\n\
         forward . 127.0.0.1:{UPSTREAM}\n{cache}\nloadbalance\n}}\n"
    )
}

/// NSD as one server process that stays in the foreground.
fn nsd(program: &Path, port: u16, folder: &Path, zones: &[(&str, String)]) -> anyhow::Result<Command> {
    fs::create_dir_all(folder)?;
    let path = folder.display();
    let mut configuration = format!(
        "server:\n server-count: 1\n ip-address: 127.0.0.1@{port}\n zonesdir: \"{path}\"\n username: \"\"\n\
         \x20pidfile: \"\"\n database: \"\"\n xfrdfile: \"{path}/xfrd\"\n zonelistfile: \"{path}/zones\"\n\
         \x20xfrdir: \"{path}\"\n cookie-secret-file: \"\"\n ipv4-edns-size: 4096\n hide-version: yes\n\
         \x20rrl-ratelimit: 0\nremote-control:\n control-enable: no\n"
    );
    for (zone, text) in zones {
        fs::write(folder.join(zone), text)?;
        configuration.push_str(&format!("zone:\n name: {zone}\n zonefile: {zone}\n"));
    }
    let file = folder.join("nsd.conf");
    fs::write(&file, configuration)?;
    let mut command = Command::new(program);
    command.arg("-d").arg("-c").arg(file);
    Ok(command)
}
