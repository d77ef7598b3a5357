//! Cluster DNS: watch, names, packets.

use std::net::{SocketAddr, TcpListener, UdpSocket};

use tokio::sync::oneshot;

/// What the DNS server needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster's domain, for example `cluster.local`.
    pub domain: String,
    /// Where other names are asked; empty refuses them.
    pub upstreams: Vec<SocketAddr>,
}

/// Why the server stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {}

/// Answers on the given sockets until `shutdown`. Sends on `ready` once the cluster's names are known.
///
/// # Errors
/// None yet.
pub async fn run(
    client: kube::Client,
    config: Config,
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    ready: oneshot::Sender<()>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    drop((client, config, udp, tcp));
    drop(ready.send(()));
    shutdown.await;
    Ok(())
}
