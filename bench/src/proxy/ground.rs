//! A node with an API server full of Services, a pod and a client, in namespaces of their own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use http::Request;
use kube::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::Namespace;

use crate::alone::serving;
use crate::process::Process;

/// The node, as its Node object has it.
pub(super) const NODE: &str = "192.0.2.1";
/// The addresses of the pod that answers.
pub(super) const POD: [&str; 3] = ["10.98.0.2", "10.98.0.3", "10.98.0.4"];
/// The port of all Services and endpoints.
pub(super) const PORT: u16 = 80;
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const SERVICES: &str = "/api/v1/namespaces/default/services";
/// Requests under way at once while the cluster is filled.
const WRITERS: usize = 32;
/// Where the API server listens, and where it does while proxies shall not find it.
const SERVER: &str = "127.0.0.1:6443";
const ELSEWHERE: &str = "127.0.0.1:6444";
/// More changes than the API server keeps for watches.
const HISTORY: usize = 13_000;
/// How many Services, and how many endpoints each has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) services: usize,
    pub(super) endpoints: usize,
}

impl Shape {
    /// The Services whose endpoints are the pod: the first, one in the middle and the last.
    pub(super) fn answering(self) -> [usize; 3] {
        [0, self.services / 2, self.services.saturating_sub(1)]
    }
}

/// All that, removed with its value.
pub(super) struct Ground {
    // Processes go before the namespaces they run in.
    server: Option<Process>,
    program: PathBuf,
    folder: TempDir,
    pub(super) shape: Shape,
    node: Place,
    pod: Place,
    client: Place,
}

impl Ground {
    /// Makes it and writes the objects.
    pub(super) fn new(program: &Path, shape: Shape) -> anyhow::Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let place = |role: &str| Place::new(&format!("bench-{}-{number}-{role}", std::process::id()));
        let (node, pod, client) = (place("node")?, place("pod")?, place("client")?);
        node.join(&pod, "pod", "10.98.0.1/24", &POD.map(|address| format!("{address}/24")))?;
        node.join(&client, "uplink", &format!("{NODE}/24"), &["192.0.2.2/24".to_owned()])?;
        // Without a default route a packet of the node to a cluster IP fails before it is translated.
        node.ip("route add default via 192.0.2.2")?;
        pod.ip("route add default via 10.98.0.1")?;
        client.ip(&format!("route add default via {NODE}"))?;
        node.0.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))??;
        let folder = tempfile::Builder::new().prefix("portolan-bench-").tempdir()?;
        let mut ground = Self { server: None, program: program.to_owned(), folder, shape, node, pod, client };
        ground.start_server(SERVER)?;
        let begin = Instant::now();
        ground.run(async |client| fill(&client, shape).await)?;
        println!(
            "{} Services x {} endpoints, written in {:.1} s",
            shape.services,
            shape.endpoints,
            begin.elapsed().as_secs_f64()
        );
        Ok(ground)
    }

    /// Gives the API server so long a history, while nobody can reach it, that watches must list anew.
    pub(super) fn age_server(&mut self) -> anyhow::Result<()> {
        self.server.take();
        self.start_server(ELSEWHERE)?;
        self.run(async |client| age(&client).await)?;
        self.server.take();
        self.start_server(SERVER)
    }

    fn start_server(&mut self, address: &str) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        command.arg("apiserver").arg("--data-dir").arg(self.folder.path());
        command.args(["--bind", address]).stdout(Stdio::null()).stderr(Stdio::null());
        self.server = Some(self.node.0.run(|| Process::start(&mut command))??);
        Ok(())
    }

    /// Runs `work` in the node, with a client of the API server once that serves.
    pub(super) fn run<T: Send>(
        &self,
        work: impl AsyncFnOnce(Client) -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        let kubeconfig = self.kubeconfig();
        self.node.0.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let client = serving(&kubeconfig).await?;
                work(client).await
            })
        })?
    }

    /// How to reach the API server from the node.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// A folder for what belongs to it.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The namespace of the pod.
    pub(super) fn pod(&self) -> &Namespace {
        &self.pod.0
    }

    /// The namespace of the client, which is outside of the cluster.
    pub(super) fn client(&self) -> &Namespace {
        &self.client.0
    }

    /// Removes the rules of all proxies and modes.
    pub(super) fn cleanup(&self) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        command.args(["proxy", "--cleanup"]).stderr(Stdio::null());
        ensure!(self.node.0.run(|| command.status())??.success(), "rules cannot be removed");
        Ok(())
    }
}

/// A namespace, removed with its value.
struct Place(Namespace);

impl Place {
    fn new(name: &str) -> anyhow::Result<Self> {
        let place = Self(Namespace::ensure(name)?);
        place.ip("link set lo up")?;
        Ok(place)
    }

    fn ip(&self, arguments: &str) -> anyhow::Result<()> {
        let status = Command::new("ip").args(["-n", self.0.name()]).args(arguments.split(' ')).status()?;
        ensure!(status.success(), "ip {arguments}");
        Ok(())
    }

    /// Joins this place and a machine by a pair of interfaces.
    fn join(&self, machine: &Self, link: &str, near: &str, far: &[String]) -> anyhow::Result<()> {
        self.ip(&format!("link add {link} type veth peer name eth0 netns {}", machine.0.name()))?;
        self.ip(&format!("addr add {near} dev {link}"))?;
        self.ip(&format!("link set {link} up"))?;
        far.iter().try_for_each(|address| machine.ip(&format!("addr add {address} dev eth0")))?;
        machine.ip("link set eth0 up")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = Namespace::delete(self.0.name()) {
            eprintln!("{error}");
        }
    }
}

/// Writes all Services and slices, and the Node.
async fn fill(client: &Client, shape: Shape) -> anyhow::Result<()> {
    let status = json!({"addresses": [{"type": "InternalIP", "address": NODE}]});
    let node = json!({"metadata": {"name": "bench"}, "status": status});
    call(client, "POST", "/api/v1/nodes", &node).await?;
    stream::iter(0..shape.services)
        .map(|number| async move {
            let metadata = json!({"name": format!("s{number}")});
            let service = json!({"metadata": metadata, "spec": {"ports": [{"port": PORT}]}});
            call(client, "POST", SERVICES, &service).await?;
            call(client, "POST", SLICES, &slice(shape, number, 0)).await
        })
        .buffer_unordered(WRITERS)
        .try_collect::<Vec<_>>()
        .await
        .map(drop)
}

/// Makes a long history.
async fn age(client: &Client) -> anyhow::Result<()> {
    let object = &json!({"metadata": {"generateName": "history-"}});
    stream::iter(0..HISTORY)
        .map(|_| call(client, "POST", "/api/v1/namespaces/default/configmaps", object))
        .buffer_unordered(WRITERS)
        .try_collect::<Vec<_>>()
        .await
        .map(drop)
}

/// The slice of a Service. Its first endpoint is another one in each version.
fn slice(shape: Shape, number: usize, version: usize) -> Value {
    let address = |index: usize| {
        let place = number * shape.endpoints + index;
        format!("10.{}.{}.{}", 100 + place / 62_500, place / 250 % 250, 1 + place % 250)
    };
    let mut addresses: Vec<_> = match shape.answering().contains(&number) {
        true => POD.iter().take(shape.endpoints).map(|&address| address.to_owned()).collect(),
        false => (0..shape.endpoints).map(address).collect(),
    };
    if version > 0 {
        addresses[0] = format!("10.99.{}.{}", version / 250, 1 + version % 250);
    }
    let ready = |address: &String| json!({"addresses": [address], "conditions": {"ready": true}, "nodeName": "elsewhere"});
    let endpoints: Vec<_> = addresses.iter().map(ready).collect();
    let labels = json!({"kubernetes.io/service-name": format!("s{number}")});
    json!({
        "metadata": {"name": format!("s{number}-1"), "labels": labels}, "addressType": "IPv4",
        "ports": [{"name": "", "port": PORT, "protocol": "TCP"}], "endpoints": endpoints,
    })
}

/// Changes the first endpoint of a Service.
pub(super) async fn change(
    client: &Client,
    shape: Shape,
    number: usize,
    version: usize,
) -> anyhow::Result<()> {
    let body = json!({"endpoints": slice(shape, number, version)["endpoints"]});
    call(client, "PATCH", &format!("{SLICES}/s{number}-1"), &body).await
}

/// The cluster IP of a Service.
pub(super) async fn cluster_ip(client: &Client, number: usize) -> anyhow::Result<String> {
    let request = Request::get(format!("{SERVICES}/s{number}")).body(Vec::new())?;
    let service: Value = serde_json::from_str(&client.request_text(request).await?)?;
    let address = service["spec"]["clusterIP"].as_str();
    address.map(str::to_owned).context("a Service without cluster IP")
}

async fn call(client: &Client, method: &str, path: &str, body: &Value) -> anyhow::Result<()> {
    let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder().method(method).uri(path).header("content-type", content);
    client.request_text(request.body(body.to_string().into_bytes())?).await?;
    Ok(())
}
