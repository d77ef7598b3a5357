//! `portolan apiserver`: the Kubernetes API as a process of its own.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use apiserver::pki::Leaf;
use apiserver::{ApiServer, Config, Dial, DirectDial, IpRange, PortRange};
use clap::Args;
use tokio::net::TcpListener;

use crate::cluster::shape::{self, Asked, Shape};
use crate::kubeconfig::{self, Access};
use crate::{cluster, host, shutdown};

/// A certificate in a kubeconfig that is good for less is replaced at a start.
const GOOD_FOR_DAYS: u64 = 30;

/// What an API server needs to know, whatever command starts it.
#[derive(Args, Clone, Debug)]
pub(crate) struct ApiOptions {
    /// Where the API listens
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6443")]
    pub(crate) bind: SocketAddr,
    /// The addresses that Services get; a cluster keeps those that it was made with [default: 10.96.0.0/16]
    #[arg(long, value_name = "CIDR")]
    pub(crate) service_cidr: Option<IpRange>,
    /// The ports that Services of type NodePort get on every node
    #[arg(long, value_name = "FIRST-LAST", default_value = "30000-32767")]
    pub(crate) service_node_port_range: PortRange,
    /// The DNS domain of the cluster; a cluster keeps that which it was made with [default: cluster.local]
    #[arg(long, value_name = "DOMAIN", value_parser = shape::parse_domain)]
    pub(crate) cluster_domain: Option<String>,
    /// The kubeconfig file that gets an entry for the administrator, beside those of other clusters that are in it
    /// [default: `kubeconfig` in the data directory]
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

    /// Opens the server of the cluster `name` and gives its administrator an entry in a kubeconfig.
    pub(crate) async fn open(&self, name: &str, place: Place) -> anyhow::Result<ApiServer> {
        let Place { data_dir, kubeconfig, shape, address, advertised, dial } = place;
        let config = Config {
            data_dir,
            service_range: shape.service_cidr.parse()?,
            node_ports: self.service_node_port_range,
            cluster_domain: shape.cluster_domain,
            advertised,
            addresses: vec![address.ip()],
        };
        let server = ApiServer::open(config, dial).await?;
        let Leaf { certificate_pem, key_pem } = server.administrator()?;
        let access = Access {
            cluster: name.to_owned(),
            server: format!("https://{}", reachable(address)),
            ca_pem: server.authority().certificate_pem.clone(),
            certificate_pem,
            key_pem,
        };
        kubeconfig::merge(&kubeconfig, &access, |pem| server.authority().vouches_for(pem, GOOD_FOR_DAYS))?;
        Ok(server)
    }

    /// What was asked for of that which a cluster cannot change.
    pub(crate) fn asked(&self) -> Asked {
        Asked {
            service_cidr: self.service_cidr.as_ref().map(ToString::to_string),
            cluster_cidr: None,
            cluster_domain: self.cluster_domain.clone(),
        }
    }

    /// The path of the administrator's kubeconfig.
    ///
    /// # Errors
    /// The current directory is not known.
    pub(crate) fn kubeconfig(&self, data_dir: &Path) -> std::io::Result<PathBuf> {
        std::path::absolute(self.kubeconfig.clone().unwrap_or_else(|| data_dir.join("kubeconfig")))
    }
}

/// Where an API server works.
pub(crate) struct Place {
    pub(crate) data_dir: PathBuf,
    /// The file of the administrator's kubeconfig.
    pub(crate) kubeconfig: PathBuf,
    pub(crate) shape: Shape,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where pods reach it.
    pub(crate) advertised: Vec<SocketAddr>,
    /// How it reaches nodes.
    pub(crate) dial: Box<dyn Dial>,
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
    host::allow_descriptors();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.thread_stack_size(super::up::STACK).enable_all().build()?;
    runtime.block_on(async {
        let listener = options.api.listen().await?;
        let address = listener.local_addr()?;
        let kubeconfig = options.api.kubeconfig(&options.data_dir)?;
        let place = Place {
            data_dir: options.data_dir.clone(),
            kubeconfig: kubeconfig.clone(),
            shape: options.api.asked().settle(cluster::DEFAULT_NAME, None)?,
            address,
            advertised: vec![reachable(address)],
            dial: Box::new(DirectDial),
        };
        let server = options.api.open(cluster::DEFAULT_NAME, place).await?;
        println!("ready kubeconfig={}", kubeconfig.display());
        server.serve(vec![listener], async { drop(shutdown::asked().await) }).await;
        Ok(())
    })
}
