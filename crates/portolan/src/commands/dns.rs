//! `portolan dns`.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use dns::{Config, Setup, Sockets, Source};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use service::manifest;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::parts::{run, stop};
use super::proxy::objects;
use crate::host;

const EXAMPLES: &str = "\
Examples:
  portolan dns --conf Corefile                       in place of CoreDNS, in a pod
  portolan dns --kubeconfig FILE --conf Corefile     the same from outside the cluster
  portolan dns -f objects.yaml --conf Corefile       what the cluster of these objects would answer
  portolan dns --conf Corefile --check               whether the Corefile can be followed";

/// The options of `portolan dns`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DnsOptions {
    /// How to reach the API server, unless the Corefile says it [default: the pod that this runs in]
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Serve what the Kubernetes objects in these files or directories say, in place of an API server; - for
    /// standard input
    #[arg(short = 'f', long = "filename", value_name = "PATH", conflicts_with = "kubeconfig")]
    files: Vec<PathBuf>,
    /// The Corefile: what to serve and where
    #[arg(long, visible_alias = "config", value_name = "FILE", conflicts_with_all = ["bind", "cluster_domain", "upstream"])]
    conf: Option<PathBuf>,
    /// Check the Corefile and end
    #[arg(long, requires = "conf")]
    check: bool,
    /// Without a Corefile: where names are served, over UDP and TCP
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:53", value_delimiter = ',')]
    bind: Vec<SocketAddr>,
    /// Without a Corefile: the DNS domain of the cluster
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
    /// Without a Corefile: where other names are asked [default: the resolvers of this machine]
    #[arg(long, value_name = "ADDR:PORT", value_delimiter = ',')]
    upstream: Vec<SocketAddr>,
}

/// `portolan dns`.
pub(crate) fn dns(options: &DnsOptions) -> anyhow::Result<()> {
    let (config, sockets) = match &options.conf {
        Some(path) => {
            let config = corefile(path)?;
            config.warnings.iter().for_each(|warning| tracing::warn!("{}, {warning}", path.display()));
            if options.check {
                println!("{} can be followed", path.display());
                return Ok(());
            }
            let sockets = Sockets::open(&config)?;
            (config, sockets)
        }
        None => of_options(options)?,
    };
    let objects = if options.files.is_empty() {
        None
    } else {
        let read = manifest::Options { pod_names: config.names_pods(), labels: true };
        Some(objects::read(&options.files, read)?)
    };
    run(async {
        let source = match objects {
            Some(objects) => Source::Objects(Arc::new(objects)),
            None if !config.asks_api_server() => Source::Corefile,
            None => Source::Api(client(options.kubeconfig.as_deref()).await?),
        };
        let reload = Some(reload_signals()?);
        let setup = Setup { config, corefile: options.conf.clone(), reload, source, sockets };
        let (ready, is_ready) = oneshot::channel();
        let tell = async move {
            if is_ready.await.is_ok() {
                println!("ready");
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = dns::run(setup, ready, stop()) => Ok(result?),
            () = tell => Ok(()),
        }
    })
}

/// A message for each SIGUSR1 (as CoreDNS has it) and each SIGHUP; several that come at once are one.
fn reload_signals() -> std::io::Result<mpsc::Receiver<()>> {
    let (mut user, mut hangup) = (signal(SignalKind::user_defined1())?, signal(SignalKind::hangup())?);
    let (send, asked) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = user.recv() => {}
                _ = hangup.recv() => {}
            }
            let _ = send.try_send(());
        }
    });
    Ok(asked)
}

/// A client for the API server, which need not answer yet: until it does, names of the cluster fail and others are
/// served.
async fn client(kubeconfig: Option<&Path>) -> anyhow::Result<Client> {
    let config = match kubeconfig {
        None => kube::Config::incluster().context(
            "nothing says where the API server is; give --kubeconfig or -f, or `kubeconfig` in the Corefile",
        )?,
        Some(path) => {
            let file = || format!("the kubeconfig {} cannot be used", path.display());
            let kubeconfig = Kubeconfig::read_from(path).with_context(file)?;
            let options = KubeConfigOptions::default();
            kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.with_context(file)?
        }
    };
    Ok(Client::try_from(config)?)
}

fn corefile(path: &Path) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    Config::from_corefile(&text, folder).with_context(|| format!("{} cannot be followed", path.display()))
}

/// What the options say when there is no Corefile.
fn of_options(options: &DnsOptions) -> anyhow::Result<(Config, Sockets)> {
    let upstreams = if options.upstream.is_empty() { host::resolvers() } else { options.upstream.clone() };
    let config = Config::of_cluster(&options.cluster_domain, &upstreams)?;
    let taken =
        |address: &SocketAddr| format!("DNS cannot listen on {address}; choose another address with --bind");
    let mut sockets = Sockets::none();
    for address in &options.bind {
        let open = || Sockets::of(UdpSocket::bind(address)?, TcpListener::bind(address)?);
        sockets.add(open().with_context(|| taken(address))?);
    }
    Ok((config, sockets))
}
