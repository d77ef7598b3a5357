//! The cluster with the objects that are asked for, and its clients.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use fastrand::Rng;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::api::{Answer, Api};
use super::probes::{Probes, Targets};
use super::sandbox::Sandbox;
use super::watcher::{self, Counts};
use super::writers::{self, Shared};

/// The path of the namespace in which the actions work.
pub(crate) const HERE: &str = "/api/v1/namespaces/chaos";
/// So many pods serve.
pub(crate) const PODS: usize = 4;
const STEP: Duration = Duration::from_millis(100);

/// All that an action needs.
pub(crate) struct Ground {
    // In this order they end: nobody asks a cluster that is being removed.
    pub(crate) probes: Probes,
    pub(crate) shared: Shared,
    pub(crate) watches: Counts,
    pub(crate) api: Api,
    pub(crate) runtime: Runtime,
    pub(crate) sandbox: Sandbox,
    pub(crate) random: Rng,
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.shared.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Ground {
    /// Starts a cluster, its pods and its clients.
    pub(crate) fn start(program: &Path, seed: u64) -> anyhow::Result<Self> {
        let mut random = Rng::with_seed(seed);
        let mut sandbox = Sandbox::prepare(program)?;
        sandbox.start()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let api = runtime.block_on(Api::new(&sandbox.kubeconfig()))?;
        let post = |path: &str, object: Value| -> anyhow::Result<Value> {
            let answer = runtime.block_on(api.call("POST", path, Some(&object)))?;
            ensure!(answer.is_good(), "{path}: {} {}", answer.code, answer.message());
            Ok(answer.body)
        };
        for name in ["chaos", "ledger"] {
            post("/api/v1/namespaces", json!({"metadata": {"name": name}}))?;
        }
        post("/apis/apps/v1/namespaces/chaos/deployments", deployment())?;
        let ports = json!([{"name": "http", "port": 80}]);
        let service = json!({"type": "NodePort", "selector": {"app": "web"}, "ports": ports});
        let service =
            post(&format!("{HERE}/services"), json!({"metadata": {"name": "web"}, "spec": service}))?;
        let ports = json!({"ports": ports});
        post(&format!("{HERE}/services"), json!({"metadata": {"name": "patched"}, "spec": ports}))?;
        let address: IpAddr = service["spec"]["clusterIP"].as_str().context("no address")?.parse()?;
        let node_port = service["spec"]["ports"][0]["nodePort"].as_u64().context("no node port")?;
        let targets = Targets {
            node_port: SocketAddr::new(sandbox.node_address()?, u16::try_from(node_port)?),
            cluster_ip: SocketAddr::new(address, 80),
            dns: SocketAddr::from(([10, 96, 0, 10], 53)),
            name: ("web.chaos.svc.cluster.local".to_owned(), address),
        };
        let probes = Probes::start(&sandbox.machine("client")?, &sandbox.machine("node1")?, targets);
        let shared = Shared::default();
        let watches = {
            let _inside = runtime.enter();
            writers::start(&api, &shared, &mut random);
            watcher::start(&api, &shared)
        };
        Ok(Self { probes, shared, watches, api, runtime, sandbox, random })
    }

    /// Asks the API server.
    ///
    /// # Errors
    /// There is no answer.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        self.runtime.block_on(self.api.call(method, path, body))
    }

    /// Asks the API server for something that it must do.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn good(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let answer = self.call(method, path, body)?;
        ensure!(answer.is_good(), "{method} {path} is answered with {} {}", answer.code, answer.message());
        Ok(answer.body)
    }

    /// The pods of the Deployment that are not about to go.
    ///
    /// # Errors
    /// The API server does not tell.
    pub(crate) fn pods(&self) -> anyhow::Result<Vec<Value>> {
        let list = self.good("GET", &format!("{HERE}/pods?labelSelector=app%3Dweb"), None)?;
        let mut pods = list["items"].as_array().cloned().unwrap_or_default();
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        Ok(pods)
    }

    /// One of its nodes.
    pub(crate) fn any_node(&mut self) -> String {
        format!("node{}", self.random.usize(1..=Sandbox::NODES))
    }

    /// A time between two, in milliseconds.
    pub(crate) fn any_time(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.random.u64(least..=most))
    }
}

/// Looks until something holds; how long that took.
///
/// # Errors
/// It does not hold in time; what was found last.
pub(crate) fn eventually(
    what: &str,
    most: Duration,
    mut look: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    loop {
        match look() {
            Ok(()) => return Ok(begin.elapsed()),
            Err(error) if begin.elapsed() > most => bail!("{what}, not after {most:?}: {error:#}"),
            Err(_) => std::thread::sleep(STEP),
        }
    }
}

fn deployment() -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": PODS,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "httpd", "image": "httpd"}]}
            }
        }
    })
}
