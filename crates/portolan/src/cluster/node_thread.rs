//! One node: a thread in the node's network namespace with its agent and its proxy.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::anyhow;
use apiserver::InProcess;
use testbed::Namespace;
use tokio::sync::{mpsc, oneshot};

use crate::shutdown::{self, Trigger};

/// What a node's thread needs.
pub(super) struct Setup {
    /// Where the node is; none is this machine's own network.
    pub(super) namespace: Option<Namespace>,
    pub(super) api: InProcess,
    pub(super) node: node::Config,
    pub(super) cluster_cidr: controllers::PodNetwork,
    /// The address of the cluster's DNS.
    pub(super) dns_address: IpAddr,
    pub(super) failures: mpsc::Sender<anyhow::Error>,
}

/// A running node.
#[derive(Debug)]
pub(super) struct NodeThread {
    trigger: Trigger,
    ended: oneshot::Receiver<()>,
}

impl NodeThread {
    /// Starts the thread. The receiver resolves when the node is ready.
    pub(super) fn start(setup: Setup) -> anyhow::Result<(Self, oneshot::Receiver<()>)> {
        let (trigger, signal) = shutdown::channel();
        let (ready, is_ready) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name(setup.node.name.clone()).spawn(move || {
            let (name, failures) = (setup.node.name.clone(), setup.failures.clone());
            let ran = catch_unwind(AssertUnwindSafe(|| run(setup, ready, &signal)));
            let ran =
                ran.unwrap_or_else(|_| Err(anyhow!("it panicked: a fault of this program, told above")));
            if let Err(error) = ran {
                drop(failures.try_send(error.context(format!("node {name} has stopped"))));
            }
            let _ = end.send(());
        })?;
        Ok((Self { trigger, ended }, is_ready))
    }

    /// Tells the node to stop.
    pub(super) fn stop(&self) {
        self.trigger.pull();
    }

    /// Waits until it has.
    pub(super) async fn join(self) {
        drop(self.ended.await);
    }
}

fn run(setup: Setup, ready: oneshot::Sender<()>, signal: &shutdown::Signal) -> anyhow::Result<()> {
    if let Some(namespace) = &setup.namespace {
        namespace.enter()?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let name = &setup.node.name;
        let rules = proxy::Config {
            node_port_addresses: Some(proxy::NodePortAddresses::All),
            node_local_dns: vec![setup.dns_address],
            ..proxy::Config::new(name.as_str(), vec![setup.cluster_cidr.range()])
        };
        let mode = proxy::start(&rules)?;
        let user = format!("system:node:{name}");
        let agent = node::run(setup.api.client(&user), setup.node.clone(), ready, signal.clone().wait());
        let proxy = proxy::run(
            setup.api.client("system:kube-proxy"),
            rules,
            proxy::configuration::Duties::none(),
            mode,
            signal.clone().wait(),
        );
        tokio::try_join!(async { agent.await.map_err(anyhow::Error::from) }, async {
            proxy.await.map_err(anyhow::Error::from)
        },)?;
        Ok(())
    })
}
