//! `portolan apiserver`: the Kubernetes API as a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use apiserver::{ApiServer, Config, DirectDial, IpRange, PortRange};
use clap::Args;
use tokio::net::TcpListener;

/// What every command that starts an API server takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Where the store and the certificates live
    #[arg(long, value_name = "DIR", default_value = "/var/lib/portolan")]
    pub(crate) data_dir: PathBuf,
    /// Where the API listens
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6443")]
    pub(crate) bind: SocketAddr,
    /// The addresses that Services get
    #[arg(long, value_name = "CIDR", default_value = "10.96.0.0/16")]
    pub(crate) service_cidr: IpRange,
    /// The ports that Services of type NodePort get on every node
    #[arg(long, value_name = "FIRST-LAST", default_value = "30000-32767")]
    pub(crate) service_node_port_range: PortRange,
    /// The DNS domain of the cluster
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    pub(crate) cluster_domain: String,
    /// Where the administrator's kubeconfig is written [default: kubeconfig in the data directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

impl Options {
    /// The path of the administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone().unwrap_or_else(|| self.data_dir.join("kubeconfig"))
    }

    /// Takes the port that the API listens on.
    pub(crate) async fn listen(&self) -> anyhow::Result<TcpListener> {
        TcpListener::bind(self.bind).await.with_context(|| {
            format!(
                "{} cannot be used for the API; is another server running there? choose another with --bind",
                self.bind
            )
        })
    }
}

/// Runs the command until it is told to stop.
pub(crate) fn main(options: Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = options.listen().await?;
        let address = listener.local_addr()?;
        let config = Config {
            data_dir: options.data_dir.clone(),
            service_range: options.service_cidr.clone(),
            node_ports: options.service_node_port_range,
            cluster_domain: options.cluster_domain.clone(),
            advertised: vec![address],
            addresses: Vec::new(),
        };
        let server = ApiServer::open(config, Box::new(DirectDial)).await?;
        let kubeconfig = options.kubeconfig();
        apiserver::pki::write_private(&kubeconfig, &server.admin_kubeconfig(address)?)?;
        println!("ready kubeconfig={}", kubeconfig.display());
        server.serve(vec![listener], async { drop(tokio::signal::ctrl_c().await) }).await;
        Ok(())
    })
}
