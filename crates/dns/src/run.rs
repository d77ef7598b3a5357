//! The server at work.

use std::future::Future;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;

use futures::{Stream, StreamExt, stream};
use service::watch;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::error::Error;
use crate::forward::Forwarder;
use crate::names::{Input, Names};
use crate::server::{Server, tcp, udp};
use crate::wire::Name;
use crate::zone::{Change, Zone};

/// How many events are taken in at once at most. Bounds memory; whatever waits beyond is taken in next.
const EVENTS: usize = 4096;
/// How many changes are published while queries wait.
const CHANGES: usize = 64;

/// Answers on the given sockets until `shutdown`, with the names of the cluster behind `client`. Sends on `ready`
/// once they are known; before that queries for them fail (SERVFAIL), which clients try again.
///
/// Replies leave from the address a socket is bound to. With a socket that is bound to no address in particular
/// the kernel chooses it by the way back, which clients of another address of this machine would not recognise:
/// bind each address instead. Upstream resolvers are asked from the network namespace that this runs in,
/// wherever the sockets are.
///
/// # Errors
/// [`Error::Domain`] and [`Error::Socket`] when it cannot begin, [`Error::WatchEnded`] when there is nothing to
/// learn any more.
pub async fn run(
    client: kube::Client,
    config: Config,
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    ready: oneshot::Sender<()>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let inputs = stream::select_all([
        watch::events(client.clone(), "").map(Input::Service).boxed(),
        watch::events(client.clone(), "").map(Input::Slice).boxed(),
        watch::events(client, "").map(Input::Namespace).boxed(),
    ]);
    serve(inputs, config, udp, tcp, ready, shutdown).await
}

/// Like [`run`], with events from anywhere.
///
/// # Errors
/// As those of [`run`].
pub async fn serve(
    inputs: impl Stream<Item = Input>,
    config: Config,
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    ready: oneshot::Sender<()>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let domain = Name::from_text(&config.domain).map_err(|_| Error::Domain(config.domain.clone()))?;
    let own: Vec<_> = udp.iter().filter_map(|socket| socket.local_addr().ok()).collect();
    let (own_upstreams, upstreams): (Vec<_>, Vec<_>) =
        config.upstreams.into_iter().partition(|upstream| own.contains(upstream));
    if !own_upstreams.is_empty() {
        tracing::warn!(?own_upstreams, "left out as upstream resolvers: they are this server");
    }
    let mut servers: Vec<IpAddr> =
        own.iter().map(|address| address.ip()).filter(|address| !address.is_unspecified()).collect();
    servers.sort();
    servers.dedup();
    let server = Arc::new(Server::new(Zone::new(domain, servers), Forwarder::new(upstreams)));
    let mut tasks = JoinSet::new();
    for socket in udp {
        tasks.spawn(udp::serve(server.clone(), udp::open(socket).map_err(Error::Socket)?));
    }
    for listener in tcp {
        tasks.spawn(tcp::serve(server.clone(), tcp::open(listener).map_err(Error::Socket)?));
    }
    let mut shutdown = pin!(shutdown);
    tokio::select! {
        () = &mut shutdown => Ok(()),
        () = follow(inputs, &server, ready) => Err(Error::WatchEnded),
    }
}

/// Publishes what events change, for as long as there are any. Whatever is ready is one batch.
async fn follow(inputs: impl Stream<Item = Input>, server: &Server, ready: oneshot::Sender<()>) {
    let mut names = Names::default();
    let mut ready = Some(ready);
    let mut inputs = pin!(inputs.ready_chunks(EVENTS));
    while let Some(batch) = inputs.next().await {
        let mut changes = names.take(batch);
        let synced = matches!(changes.last(), Some(Change::Synced));
        let count = changes.len();
        while !changes.is_empty() {
            let some: Vec<_> = changes.drain(..changes.len().min(CHANGES)).collect();
            server.publish(some, seconds());
        }
        tracing::debug!(changes = count, "names published");
        if synced {
            tracing::info!(changes = count, "the cluster's names are known");
            ready.take().map(|ready| ready.send(()));
        }
    }
}

/// Seconds since 1970, the customary serial number of a zone.
fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
