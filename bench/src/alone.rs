//! An API server alone in a network namespace, for benches of one part beside a peer of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use http::Request;
use kube::Client;
use serde_json::Value;
use testbed::Namespace;

use crate::cluster::{client, is_ready};
use crate::process::Process;

/// How long the API server may take to serve.
const PATIENCE: Duration = Duration::from_secs(60);

/// A namespace with a node's address and a default route, removed with its value.
pub(crate) struct Place(pub(crate) Namespace);

impl Place {
    /// A new one, whose name begins so.
    pub(crate) fn new(prefix: &str) -> anyhow::Result<Self> {
        let place = Self(Namespace::ensure(&format!("{prefix}-{}", std::process::id()))?);
        for arguments in [
            "link set lo up",
            "link add node0 type veth peer name node1",
            "addr add 192.0.2.1/24 dev node0",
            "link set node0 up",
            "link set node1 up",
            "route add default via 192.0.2.254",
        ] {
            let ip = Command::new("ip").args(["-n", place.0.name()]).args(arguments.split(' ')).status()?;
            ensure!(ip.success(), "ip {arguments}");
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = Namespace::delete(self.0.name()) {
            eprintln!("{error}");
        }
    }
}

/// A `portolan apiserver` in the namespace of the calling thread, which ends with its value.
pub(crate) struct ApiServer {
    _process: Process,
    /// How it is reached.
    pub(crate) client: Client,
    /// The same as a file.
    pub(crate) kubeconfig: PathBuf,
}

impl ApiServer {
    /// Starts it on the objects that are in this folder, and waits until it serves.
    pub(crate) async fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.arg("apiserver").arg("--data-dir").arg(folder).args(["--bind", "127.0.0.1:6443"]);
        let process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
        let kubeconfig = folder.join("kubeconfig");
        let client = serving(&kubeconfig).await?;
        Ok(Self { _process: process, client, kubeconfig })
    }
}

/// A client of the API server of a kubeconfig, once that serves.
pub(crate) async fn serving(kubeconfig: &Path) -> anyhow::Result<Client> {
    let begin = Instant::now();
    loop {
        match client(kubeconfig).await {
            Ok(client) if is_ready(&client).await => return Ok(client),
            _ if begin.elapsed() > PATIENCE => bail!("the API server does not serve"),
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// One request; a `PATCH` is a merge patch (RFC 7386).
pub(crate) async fn call(client: &Client, method: &str, path: &str, body: &Value) -> anyhow::Result<()> {
    let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(path).header("content-type", content);
    client.request_text(request.body(body.to_string().into_bytes())?).await?;
    Ok(())
}
