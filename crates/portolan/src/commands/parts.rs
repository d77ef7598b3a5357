//! The parts as single processes, each given a kubeconfig.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use controllers::PodNetwork;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::sync::oneshot;

use crate::{cluster, host, shutdown};

/// Which API server a part works for.
#[derive(Args, Clone, Debug)]
struct Api {
    /// How to reach the API server
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: PathBuf,
}

impl Api {
    async fn config(&self) -> anyhow::Result<Config> {
        let file = || format!("the kubeconfig {} cannot be used", self.kubeconfig.display());
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig).with_context(file)?;
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.with_context(file)
    }

    async fn client(&self) -> anyhow::Result<Client> {
        client(&self.kubeconfig).await
    }
}

/// A client for the API server of a kubeconfig, which answers.
pub(crate) async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    let api = Api { kubeconfig: kubeconfig.to_owned() };
    let client = Client::try_from(api.config().await?)?;
    client.apiserver_version().await.with_context(|| {
        format!("the API server of {} does not answer; is it running?", kubeconfig.display())
    })?;
    Ok(client)
}

/// Runs one part on a runtime of its own thread.
pub(crate) fn run<T>(part: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(part)
}

pub(crate) async fn stop() {
    if let Err(error) = shutdown::asked().await {
        tracing::error!(%error, "signals cannot be received");
    }
}

/// The options of `portolan controllers`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ControllerOptions {
    #[command(flatten)]
    api: Api,
    /// The addresses of pods; each node gets a share
    #[arg(long, value_name = "CIDR", default_value = "10.244.0.0/16")]
    cluster_cidr: PodNetwork,
}

/// `portolan controllers`.
pub(crate) fn controllers(options: &ControllerOptions) -> anyhow::Result<()> {
    run(async {
        let config = options.api.config().await?;
        let root_ca = config.root_cert.as_ref().map(|chain| pem(chain));
        let client = options.api.client().await?;
        let config = controllers::Config { cluster_cidr: options.cluster_cidr, root_ca };
        Ok(controllers::run(client, config, stop()).await?)
    })
}

/// Certificates in PEM (RFC 7468).
fn pem(chain: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for certificate in chain {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in STANDARD.encode(certificate).as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// The options of `portolan node`.
#[derive(Args, Clone, Debug)]
pub(crate) struct NodeOptions {
    #[command(flatten)]
    api: Api,
    /// The node's name [default: this machine's host name]
    #[arg(long, value_name = "NAME")]
    hostname_override: Option<String>,
    /// The address by which others reach this machine [default: that of the default route]
    #[arg(long, value_name = "ADDR")]
    node_ip: Option<IpAddr>,
    /// Where images, containers, volumes and logs live
    #[arg(long, value_name = "DIR", default_value = "/var/lib/portolan/node")]
    data_dir: PathBuf,
    /// The socket of a running container runtime [default: a containerd is started]
    #[arg(long, value_name = "SOCKET")]
    container_runtime_endpoint: Option<PathBuf>,
    /// The addresses of the cluster's DNS, for pods
    #[arg(long, value_name = "ADDR", default_value = "10.96.0.10", value_delimiter = ',')]
    cluster_dns: Vec<IpAddr>,
    /// The DNS domain of the cluster
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
    /// Remove every pod, container and file of the node and exit
    #[arg(long)]
    cleanup: bool,
}

/// `portolan node`.
pub(crate) fn node(options: NodeOptions) -> anyhow::Result<()> {
    host::require_root("node")?;
    if options.container_runtime_endpoint.is_none() {
        host::require_containerd()?;
    }
    if options.cleanup && !node::is_data_dir(&options.data_dir) {
        println!("{} is not the data of a node; nothing was removed", options.data_dir.display());
        return Ok(());
    }
    run(async {
        let client_ca_pem = if options.cleanup {
            String::new()
        } else {
            options.api.config().await?.root_cert.as_ref().map(|chain| pem(chain)).unwrap_or_default()
        };
        let name = options.hostname_override.unwrap_or_else(host::own_name);
        let internal_ip = options.node_ip.map_or_else(host::own_address, Ok)?;
        let config = node::Config {
            cgroup_parent: cluster::cgroup(&name),
            name: name.clone(),
            internal_ip,
            images_dir: options.data_dir.join("images"),
            data_dir: options.data_dir,
            runtime_endpoint: options.container_runtime_endpoint,
            cluster_dns: options.cluster_dns,
            cluster_domain: options.cluster_domain,
            client_ca_pem,
            program: std::env::current_exe()?,
            labels: std::collections::BTreeMap::new(),
            port: node::DEFAULT_PORT,
            runtime_environment: std::collections::BTreeMap::new(),
        };
        if options.cleanup {
            return Ok(node::remove_all(&config).await?);
        }
        let client = options.api.client().await?;
        let (ready, is_ready) = oneshot::channel();
        let tell = async move {
            if is_ready.await.is_ok() {
                println!("ready node={name}");
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = node::run(client, config, ready, stop()) => Ok(result?),
            () = tell => Ok(()),
        }
    })
}
