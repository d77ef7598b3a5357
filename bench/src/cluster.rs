//! A sandbox cluster for a bench, removed with its value.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tempfile::TempDir;
use testbed::Namespace;

use crate::process::{Process, free_port};

/// How long a cluster may take for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(1);

/// A cluster of three nodes, with a data directory of its own in which the images lie ready.
#[derive(Debug)]
pub(crate) struct Cluster {
    program: PathBuf,
    pub(crate) name: String,
    folder: TempDir,
    port: u16,
    process: Option<Process>,
}

impl Cluster {
    /// The number of its nodes.
    pub(crate) const NODES: usize = 3;

    /// Prepares a cluster that has not been started.
    pub(crate) fn prepare(program: &Path) -> anyhow::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("a cluster needs root; run this bench as root");
        }
        let folder = tempfile::Builder::new().prefix("portolan-bench-").tempdir()?;
        node::image::write_stand_ins(&folder.path().join("data/images"))?;
        Ok(Self {
            program: program.to_owned(),
            name: format!("b{}", std::process::id()),
            folder,
            port: free_port()?,
            process: None,
        })
    }

    /// Starts it and does not wait. Returns when that was.
    pub(crate) fn start(&mut self) -> anyhow::Result<Instant> {
        let log = File::create(self.folder.path().join("log"))?;
        let mut command = Command::new(&self.program);
        command.args(["up", "--sandbox", &Self::NODES.to_string(), "--name", &self.name]);
        command.args(["--bind", &format!("127.0.0.1:{}", self.port)]);
        command.arg("--data-dir").arg(self.data_dir()).stdout(log.try_clone()?).stderr(Stdio::from(log));
        let begin = Instant::now();
        self.process = Some(Process::start(&mut command)?);
        Ok(begin)
    }

    /// Waits until the API server serves, and returns a client of the administrator.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        let begin = Instant::now();
        loop {
            match client(&self.data_dir().join("kubeconfig")).await {
                Ok(client) if is_ready(&client).await => return Ok(client),
                _ if begin.elapsed() > PATIENCE => bail!("the API server does not serve:\n{}", self.log()),
                _ => tokio::time::sleep(STEP).await,
            }
        }
    }

    /// Waits until it has printed that it is ready.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        let begin = Instant::now();
        while !self.log().lines().any(|line| line.starts_with("ready")) {
            if begin.elapsed() > PATIENCE {
                bail!("the cluster does not become ready:\n{}", self.log());
            }
            tokio::time::sleep(STEP).await;
        }
        Ok(())
    }

    /// What it printed.
    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The network namespace of a machine: `node1`, `client`.
    pub(crate) fn machine(&self, name: &str) -> anyhow::Result<Namespace> {
        Ok(Namespace::open(&format!("{}-{name}", self.name))?)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.0.id())
    }

    /// Where its data is.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.process.take();
        let mut down = Command::new(&self.program);
        down.args(["down", "--name", &self.name]).arg("--data-dir").arg(self.data_dir());
        match down.stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                eprintln!(
                    "the bench's cluster {} stays: {}",
                    self.name,
                    String::from_utf8_lossy(&output.stderr)
                );
            }
            Err(error) => eprintln!("the bench's cluster {} stays: {error}", self.name),
        }
    }
}

/// A client by a kubeconfig, with a connection of its own.
pub(crate) async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    let read = Kubeconfig::read_from(kubeconfig).context("the kubeconfig cannot be read")?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Whether the API server says that it serves.
pub(crate) async fn is_ready(client: &Client) -> bool {
    match http::Request::get("/readyz").body(Vec::new()) {
        Ok(request) => client.request_text(request).await.is_ok(),
        Err(_) => false,
    }
}
