//! `portolan up`: a whole cluster in one process.

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, FromArgMatches};
use controllers::PodNetwork;

use super::apiserver::ApiOptions;
use crate::cluster::{self, Cluster, notify};
use crate::{host, shutdown};

/// The options of `portolan up`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Make this many nodes and an outside client, each a network namespace, instead of using this machine
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=testbed::Sandbox::MAX_NODES as i64))]
    pub(crate) sandbox: Option<u16>,
    /// The cluster's name; namespaces are called NAME-node1, NAME-client and so on
    #[arg(long, default_value = cluster::DEFAULT_NAME, value_parser = cluster::parse_name)]
    pub(crate) name: String,
    /// Where everything that outlives the process is kept [default: /var/lib/portolan/NAME]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) api: ApiOptions,
    /// The addresses of pods; each node gets a share
    #[arg(long, value_name = "CIDR", default_value = "10.244.0.0/16")]
    pub(crate) cluster_cidr: PodNetwork,
    /// The address by which others reach this machine (without --sandbox) [default: that of the default route]
    #[arg(long, value_name = "ADDR")]
    pub(crate) node_ip: Option<IpAddr>,
    /// Give the nodes of a sandbox no way to image registries; otherwise they pull through a proxy in this process
    #[arg(long, requires = "sandbox")]
    pub(crate) offline: bool,
    /// The socket of a running container runtime (without --sandbox) [default: a containerd is started]
    #[arg(long, value_name = "SOCKET", conflicts_with = "sandbox")]
    pub(crate) container_runtime_endpoint: Option<PathBuf>,
}

impl Options {
    /// Reads options as if they had been typed.
    pub(crate) fn parse_from(arguments: [&str; 7]) -> Result<Self, clap::Error> {
        let command = Self::augment_args(clap::Command::new("up"));
        Self::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    /// The data directory as an absolute path.
    pub(crate) fn data_dir(&self) -> std::io::Result<PathBuf> {
        let folder = self.data_dir.clone().unwrap_or_else(|| cluster::default_data_dir(&self.name));
        std::path::absolute(folder)
    }
}

/// Runs the command until it is told to stop.
pub(crate) fn main(options: &Options) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let asked = shutdown::asked();
        tokio::pin!(asked);
        let cluster = tokio::select! {
            started = start(options) => started?,
            asked = &mut asked => return Ok(asked?),
        };
        println!("ready kubeconfig={}", cluster.kubeconfig().display());
        std::io::stdout().flush()?;
        notify::send("READY=1");
        let failed = tokio::select! {
            asked = asked => asked.map_err(Into::into),
            failed = cluster.failed() => Err(failed),
        };
        notify::send("STOPPING=1");
        cluster.stop().await;
        failed
    })
}

/// Checks what can be checked before anything is made, then starts the cluster.
pub(crate) async fn start(options: &Options) -> anyhow::Result<Cluster> {
    host::require_root("up")?;
    if options.container_runtime_endpoint.is_none() {
        host::require_containerd()?;
    }
    Cluster::start(options).await
}

/// The runtime of the control plane; nodes have threads of their own.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
