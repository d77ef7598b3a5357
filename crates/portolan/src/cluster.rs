//! All parts in one process.
//!
//! The control plane (API server, controllers, DNS) runs on the main runtime. Each node has a
//! thread of its own that sits in the node's network namespace and runs its agent and its proxy.
//! They meet at the API server alone, through clients that need no socket.

mod control;
mod data_dir;
mod dial;
mod egress;
mod node_thread;
pub(crate) mod notify;
mod options;
pub(crate) mod record;
mod remove;
pub(crate) mod shape;

use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use apiserver::{Dial, DirectDial, IpRange};
use controllers::PodNetwork;
use futures::FutureExt;
use testbed::Sandbox;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::commands::apiserver::Place;
use crate::shutdown::{self, Signal, Trigger};
use crate::{host, kubeconfig};
use dial::SandboxDial;
use node_thread::NodeThread;
pub(crate) use options::{Options, Which};
use record::{Record, RecordedNode};
pub(crate) use remove::{Removed, remove};
use shape::Shape;

/// The cluster that commands mean when none is named.
pub(crate) const DEFAULT_NAME: &str = "portolan";
/// The API's port where pods reach it.
const API_PORT: u16 = 6443;
/// The longest name: namespaces and interfaces are called after it.
const MAX_NAME: usize = 32;

/// Where a cluster keeps its data when nothing else is said.
pub(crate) fn default_data_dir(name: &str) -> PathBuf {
    Path::new("/var/lib/portolan").join(name)
}

/// Reads a cluster's name.
///
/// # Errors
/// It could not be a part of the names of nodes (RFC 1123, section 2.1).
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if text.len() <= MAX_NAME && text.chars().all(inner) && text.starts_with(ends) && text.ends_with(ends) {
        Ok(text.to_owned())
    } else {
        Err(format!("use lower case letters, digits and '-' inside, at most {MAX_NAME} of them"))
    }
}

/// Refuses a name under which a cluster runs already.
pub(crate) fn refuse_running(name: &str) -> anyhow::Result<()> {
    if let Some(running) = Record::read(name)?.filter(Record::is_running) {
        bail!(
            "cluster {name} is in use by another process ({}); stop that one first, or choose another --name",
            running.pid
        );
    }
    Ok(())
}

/// How many failures of parts are remembered: the first one ends the cluster, so later ones tell nothing.
const FAILURES: usize = 1;

/// A running cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    kubeconfig: PathBuf,
    sandbox: Option<Sandbox>,
    nodes: Vec<NodeThread>,
    /// The control plane's parts in the order in which they stop.
    parts: Vec<(Trigger, JoinHandle<()>)>,
    fail: mpsc::Sender<anyhow::Error>,
    failures: tokio::sync::Mutex<mpsc::Receiver<anyhow::Error>>,
}

/// Where a cluster keeps its data, and what it cannot change.
struct Home {
    data_dir: PathBuf,
    kubeconfig: PathBuf,
    shape: Shape,
}

/// What is noted of a cluster before it makes anything. Nodes of before stay in it: their data is still there.
fn record(options: &Options, home: &Home, recorded: Option<Record>) -> anyhow::Result<Record> {
    let nodes = match options.sandbox {
        Some(count) => Sandbox::nodes_of(&options.name, count.into()),
        None => vec![(host::own_name(), options.node_ip.map_or_else(host::own_address, Ok)?)],
    };
    let mut nodes: Vec<_> = nodes.into_iter().map(|(name, address)| RecordedNode { name, address }).collect();
    for node in recorded.map(|record| record.nodes).unwrap_or_default() {
        if nodes.iter().all(|present| present.name != node.name) {
            nodes.push(node);
        }
    }
    Ok(Record {
        name: options.name.clone(),
        pid: std::process::id(),
        started: record::Started::of(std::process::id()),
        data_dir: home.data_dir.clone(),
        sandbox: options.sandbox.is_some(),
        nodes,
        runtime_endpoint: options.container_runtime_endpoint.clone(),
        kubeconfig: Some(home.kubeconfig.clone()),
        shape: Some(home.shape.clone()),
    })
}

/// Where the machines of the cluster are.
struct Ground {
    sandbox: Option<Sandbox>,
    nodes: Vec<(String, IpAddr)>,
    control_address: IpAddr,
}

impl Ground {
    fn prepare(options: &Options) -> anyhow::Result<Self> {
        match options.sandbox {
            Some(count) => {
                let sandbox = Sandbox::ensure(&options.name, count.into())?;
                let nodes = sandbox
                    .nodes
                    .iter()
                    .map(|node| (node.namespace.name().to_owned(), node.address))
                    .collect();
                Ok(Self { control_address: sandbox.address, nodes, sandbox: Some(sandbox) })
            }
            None => {
                let address = options.node_ip.map_or_else(host::own_address, Ok)?;
                Ok(Self { sandbox: None, nodes: vec![(host::own_name(), address)], control_address: address })
            }
        }
    }

    /// Runs `open` where the control plane's sockets belong.
    fn sockets<T: Send>(&self, open: impl FnOnce() -> std::io::Result<T> + Send) -> anyhow::Result<T> {
        match &self.sandbox {
            Some(sandbox) => Ok(sandbox.underlay.run(open)??),
            None => Ok(open()?),
        }
    }

    /// Does something in the network of a node.
    fn on_node<T: Send>(&self, name: &str, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        let sandboxed = self.sandbox.iter().flat_map(|sandbox| &sandbox.nodes);
        match sandboxed.map(|node| &node.namespace).find(|namespace| namespace.name() == name) {
            Some(namespace) => Ok(namespace.run(work)?),
            None => Ok(work()),
        }
    }

    fn dial(&self) -> Box<dyn Dial> {
        match &self.sandbox {
            Some(sandbox) => Box::new(SandboxDial::new(&sandbox.nodes)),
            None => Box::new(DirectDial),
        }
    }
}

impl Cluster {
    /// Starts everything and waits until it serves.
    ///
    /// # Errors
    /// A part cannot start; what had been started stops.
    pub(crate) async fn start(options: &Options) -> anyhow::Result<Self> {
        let data_dir = options.data_dir()?;
        let recorded = Record::in_data_dir(&data_dir)?;
        let shape =
            options.asked().settle(&options.name, recorded.as_ref().and_then(|r| r.shape.as_ref()))?;
        shape.check(&machines(options)?)?;
        let listener = options.api.listen().await?;
        refuse_running(&options.name)?;
        let kubeconfig = options.api.kubeconfig(&data_dir)?;
        // Before anything is noted: a file that cannot be changed could not be changed back by `down` either.
        kubeconfig::check(&kubeconfig)?;
        data_dir::claim(&data_dir, &options.name)?;
        let is_new = !Sandbox::exists(&options.name);
        let home = Home { kubeconfig, data_dir, shape };
        record(options, &home, recorded)?.write()?;
        let ground = Ground::prepare(options)?;
        let started = Self::start_on(options, &home, ground, listener).await;
        if started.is_err() && is_new {
            for error in Sandbox::remove(&options.name) {
                tracing::warn!(%error, "what was begun could not be removed");
            }
        }
        started
    }

    async fn start_on(
        options: &Options,
        home: &Home,
        ground: Ground,
        listener: TcpListener,
    ) -> anyhow::Result<Self> {
        let address = listener.local_addr()?;
        let advertised = SocketAddr::new(ground.control_address, API_PORT);
        let mut listeners = vec![listener];
        if address != advertised && !(address.ip().is_unspecified() && address.port() == API_PORT) {
            listeners.push(listen_inside(&ground, advertised, "the API for pods and nodes")?);
        }
        let place = Place {
            data_dir: home.data_dir.clone(),
            kubeconfig: home.kubeconfig.clone(),
            shape: home.shape.clone(),
            address,
            advertised: vec![advertised],
            dial: ground.dial(),
        };
        let server = options.api.open(&options.name, place).await?;
        let (fail, failed) = mpsc::channel(FAILURES);
        let mut cluster = Self {
            kubeconfig: home.kubeconfig.clone(),
            sandbox: None,
            nodes: Vec::new(),
            parts: Vec::new(),
            fail,
            failures: tokio::sync::Mutex::new(failed),
        };
        let started = cluster.start_parts(options, home, ground, server, listeners).await;
        if let Err(error) = started {
            cluster.stop().await;
            return Err(error);
        }
        Ok(cluster)
    }

    async fn start_parts(
        &mut self,
        options: &Options,
        home: &Home,
        ground: Ground,
        server: apiserver::ApiServer,
        listeners: Vec<TcpListener>,
    ) -> anyhow::Result<()> {
        let api = server.in_process();
        let authority = server.authority().certificate_pem.clone();
        let shape = &home.shape;
        let cluster_cidr: PodNetwork = shape.cluster_cidr.parse()?;
        // The address of the cluster's DNS is the tenth of the Services' range, as everywhere.
        let dns_address = shape.service_cidr.parse::<IpRange>()?.at(10);
        let failures = self.fail.clone();
        self.part("the API server", |stop| server.serve(listeners, stop.wait()));
        let config = controllers::Config { cluster_cidr, root_ca: Some(authority.clone()) };
        let client = api.client("system:kube-controller-manager");
        let failed = failures.clone();
        self.part("the controllers", |stop| async move {
            if let Err(error) = controllers::run(client, config, stop.wait()).await {
                drop(failed.try_send(error.into()));
            }
        });
        let mut proxy = None;
        if let Some(sandbox) = &ground.sandbox {
            let address = SocketAddr::new(sandbox.address, egress::PORT);
            let listener = listen_inside(&ground, address, "the proxy for image pulls")?;
            let offline = options.offline;
            self.part("the proxy for image pulls", |stop| egress::serve(listener, offline, stop));
            proxy = Some(address);
        }
        let mut ready = Vec::new();
        for (name, address) in &ground.nodes {
            let setup = node_thread::Setup {
                namespace: ground.sandbox.as_ref().and_then(|sandbox| {
                    sandbox.nodes.iter().find(|n| n.namespace.name() == name).map(|n| n.namespace.clone())
                }),
                api: api.clone(),
                node: node_config(options, home, dns_address, (name, *address), &authority, proxy)?,
                cluster_cidr,
                dns_address,
                failures: failures.clone(),
            };
            let (thread, is_ready) = NodeThread::start(setup)?;
            self.nodes.push(thread);
            ready.push(is_ready);
        }
        let dns = control::Dns::open(&ground, dns_address, &shape.cluster_domain)?;
        let (dns_ready, is_dns_ready) = tokio::sync::oneshot::channel();
        let client = api.client("system:kube-dns");
        control::publish_dns(&client, &dns).await?;
        self.part("DNS", |stop| async move {
            let setup = dns::Setup {
                config: dns.config,
                corefile: None,
                reload: None,
                source: dns::Source::Api(client),
                sockets: dns.sockets,
            };
            let Err(error) = dns::run(setup, dns_ready, stop.wait()).await else { return };
            drop(failures.try_send(error.into()));
        });
        self.sandbox = ground.sandbox;
        let all = futures::future::join_all(ready.into_iter().chain([is_dns_ready]));
        tokio::select! {
            _ = all => Ok(()),
            error = self.failed() => Err(error),
        }
    }

    /// Starts a part. One that panics has failed: without it a cluster would only look as if it worked.
    fn part<F>(&mut self, name: &'static str, start: impl FnOnce(Signal) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (trigger, signal) = shutdown::channel();
        let (part, fail) = (AssertUnwindSafe(start(signal)), self.fail.clone());
        let guarded = async move {
            if part.catch_unwind().await.is_err() {
                drop(fail.try_send(anyhow::anyhow!("{name} panicked: a fault of this program, told above")));
            }
        };
        self.parts.insert(0, (trigger, tokio::spawn(guarded)));
    }

    /// The path of the administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Resolves when a part fails that the cluster cannot do without.
    pub(crate) async fn failed(&self) -> anyhow::Error {
        match self.failures.lock().await.recv().await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Stops all parts: nodes first, the API server last. Pods, rules and namespaces stay.
    pub(crate) async fn stop(self) {
        for node in &self.nodes {
            node.stop();
        }
        for node in self.nodes {
            node.join().await;
        }
        for (trigger, task) in self.parts {
            trigger.pull();
            drop(task.await);
        }
    }
}

/// The networks of the machines on which the cluster will be, with the words for them.
fn machines(options: &Options) -> anyhow::Result<Vec<(String, service::Cidr)>> {
    if options.sandbox.is_some() {
        let network = Sandbox::network();
        return Ok(vec![(format!("the sandbox's network {network}"), network.parse()?)]);
    }
    Ok(vec![shape::machine(options.node_ip.map_or_else(host::own_address, Ok)?)])
}

/// Listens where the control plane's sockets belong.
fn listen_inside(ground: &Ground, address: SocketAddr, what: &str) -> anyhow::Result<TcpListener> {
    let listener = ground
        .sockets(|| std::net::TcpListener::bind(address))
        .with_context(|| format!("{what} cannot listen on {address}"))?;
    listener.set_nonblocking(true)?;
    Ok(TcpListener::from_std(listener)?)
}

fn node_config(
    options: &Options,
    home: &Home,
    dns_address: IpAddr,
    (name, internal_ip): (&str, IpAddr),
    authority: &str,
    proxy: Option<SocketAddr>,
) -> anyhow::Result<node::Config> {
    let Home { data_dir, shape, .. } = home;
    let environment = |proxy| {
        let inside = [shape.cluster_cidr.clone(), shape.service_cidr.clone(), Sandbox::network()];
        egress::environment(proxy, &inside, &shape.cluster_domain)
    };
    Ok(node::Config {
        runtime_environment: proxy.map(environment).unwrap_or_default(),
        name: name.to_owned(),
        internal_ip,
        data_dir: data_dir.join("nodes").join(name),
        runtime_endpoint: options.container_runtime_endpoint.clone(),
        images_dir: data_dir.join("images"),
        cluster_dns: vec![dns_address],
        cluster_domain: shape.cluster_domain.clone(),
        client_ca_pem: authority.to_owned(),
        program: std::env::current_exe()?,
        labels: std::collections::BTreeMap::new(),
        port: node::DEFAULT_PORT,
        cgroup_parent: cgroup(name),
    })
}

/// The cgroup below which a node's containers run, whatever command started the node: nodes of a
/// sandbox carry its name, and without one there is a single node on a machine.
pub(crate) fn cgroup(node: &str) -> String {
    format!("/portolan-{node}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_named_like_a_host() {
        for (name, valid) in [
            ("portolan", true),
            ("a-1", true),
            ("", false),
            ("-a", false),
            ("a-", false),
            ("A", false),
            ("a/b", false),
        ] {
            assert_eq!(parse_name(name).is_ok(), valid, "{name}");
        }
        assert!(parse_name(&"a".repeat(MAX_NAME + 1)).is_err());
    }

    #[tokio::test]
    async fn a_part_that_panics_has_failed() {
        let (fail, failures) = mpsc::channel(FAILURES);
        let (kubeconfig, failures) = (PathBuf::new(), tokio::sync::Mutex::new(failures));
        let mut cluster =
            Cluster { kubeconfig, sandbox: None, nodes: Vec::new(), parts: Vec::new(), fail, failures };
        cluster.part("good", Signal::wait);
        cluster.part("bad", |_| async { panic!("on purpose") });
        assert!(cluster.failed().await.to_string().starts_with("bad panicked"));
        cluster.stop().await;
    }
}
