//! `portolan apiserver`: the Kubernetes API as a process of its own.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context;
use apiserver::{ApiServer, Config, Dial, DirectDial, IpRange, PortRange};
use clap::Args;
use tokio::net::TcpListener;

use crate::shutdown;

/// What an API server needs to know, whatever command starts it.
#[derive(Args, Clone, Debug)]
pub(crate) struct ApiOptions {
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
    /// Where the administrator's kubeconfig is written [default: `kubeconfig` in the data directory]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// The options of `portolan apiserver`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Where the store and the certificates live
    #[arg(long, value_name = "DIR", default_value = "/var/lib/portolan")]
    data_dir: PathBuf,
    #[command(flatten)]
    api: ApiOptions,
}

impl ApiOptions {
    /// Takes the port that the API listens on.
    pub(crate) async fn listen(&self) -> anyhow::Result<TcpListener> {
        TcpListener::bind(self.bind).await.with_context(|| {
            format!(
                "the API cannot listen on {}; is another server running there? choose another address with --bind",
                self.bind
            )
        })
    }

    /// Opens the server and writes the administrator's kubeconfig for `address`; returns its path.
    pub(crate) async fn open(
        &self,
        data_dir: PathBuf,
        address: SocketAddr,
        advertised: Vec<SocketAddr>,
        dial: Box<dyn Dial>,
    ) -> anyhow::Result<(ApiServer, PathBuf)> {
        let kubeconfig = self.kubeconfig.clone().unwrap_or_else(|| data_dir.join("kubeconfig"));
        let config = Config {
            data_dir,
            service_range: self.service_cidr.clone(),
            node_ports: self.service_node_port_range,
            cluster_domain: self.cluster_domain.clone(),
            advertised,
            addresses: vec![address.ip()],
        };
        let server = ApiServer::open(config, dial).await?;
        apiserver::pki::write_private(&kubeconfig, &server.admin_kubeconfig(reachable(address))?)?;
        Ok((server, kubeconfig))
    }

    /// The address of the cluster's DNS: the tenth of the Services' range.
    pub(crate) fn dns_address(&self) -> IpAddr {
        self.service_cidr.at(10)
    }
}

/// A server that listens everywhere is reached on the loopback address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Runs the command until it is told to stop.
pub(crate) fn main(options: &Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = options.api.listen().await?;
        let address = listener.local_addr()?;
        let (server, kubeconfig) = options
            .api
            .open(options.data_dir.clone(), address, vec![reachable(address)], Box::new(DirectDial))
            .await?;
        println!("ready kubeconfig={}", kubeconfig.display());
        server.serve(vec![listener], async { drop(shutdown::asked().await) }).await;
        Ok(())
    })
}
