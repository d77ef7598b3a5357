//! The way of a sandbox to image registries: an HTTP proxy between its namespaces and the machine's network.
//!
//! It listens in the underlay and connects from the machine's own namespace, so that nothing of the machine's
//! network is changed. It tunnels CONNECT requests and does nothing else. Whoever is in the sandbox may use
//! it, pods too; therefore it leads to the ports of the web only, and only to where the machine's default route
//! leads: neither to the machine itself nor to the networks that it is part of.

mod request;
mod route;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use crate::shutdown::Signal;
use request::{MAX_HEAD, Refusal, Target};

/// Where the proxy listens in the underlay; squid's port, where people look for a proxy.
pub(super) const PORT: u16 = 3128;
/// Connections at once: the layers that a dozen nodes pull at a time. More are refused.
const MAX_CONNECTIONS: usize = 64;
/// A client has this long to send its request.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// Finding and reaching a server may take this long: a pull without any way out must fail soon.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// A tunnel in which nothing moves ends after this long.
const IDLE_TIME: Duration = Duration::from_secs(120);
/// Addresses of a name that are tried.
const MAX_ADDRESSES: usize = 16;
/// Bytes that each direction of a tunnel holds.
const BUFFER: usize = 16 << 10;

/// Where tunnels may lead, and how long a client may take to ask for one.
#[derive(Clone, Copy)]
struct Policy {
    request_time: Duration,
    port: fn(u16) -> bool,
    address: Reach,
    /// Why it leads nowhere, if so.
    closed: Option<&'static str>,
}

/// Which addresses are connected to.
#[derive(Clone, Copy)]
enum Reach {
    /// Those that the machine reaches by its default route.
    Outside,
    #[cfg(test)]
    Loopback,
}

impl Reach {
    async fn includes(self, address: IpAddr) -> io::Result<bool> {
        match self {
            Self::Outside => route::leads_out(address).await,
            #[cfg(test)]
            Self::Loopback => Ok(address.is_loopback()),
        }
    }
}

/// The web beyond this machine and its networks.
const WEB: Policy = Policy {
    request_time: REQUEST_TIME,
    port: |port| matches!(port, 80 | 443),
    address: Reach::Outside,
    closed: None,
};

/// Nowhere. Nodes that ask are answered at once, where packets of theirs would get lost.
const NOWHERE: Policy = Policy { closed: Some("this sandbox was started with --offline"), ..WEB };

/// The environment variables by which programs find the proxy. What is in one of the `inside` ranges or below
/// the cluster's domain is reached without it.
pub(super) fn environment(proxy: SocketAddr, inside: &[String], domain: &str) -> BTreeMap<String, String> {
    let url = format!("http://{proxy}");
    let mut direct = vec!["localhost".to_owned(), "127.0.0.0/8".to_owned(), "::1".to_owned()];
    direct.extend_from_slice(inside);
    direct.extend([".svc".to_owned(), format!(".{domain}")]);
    let pairs = [("HTTPS_PROXY", url.clone()), ("HTTP_PROXY", url), ("NO_PROXY", direct.join(","))];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Serves until told to stop; `offline` refuses everything.
pub(super) async fn serve(listener: TcpListener, offline: bool, stop: Signal) {
    tokio::select! {
        () = accept(listener, if offline { NOWHERE } else { WEB }) => {}
        () = stop.wait() => {}
    }
}

async fn accept(listener: TcpListener, policy: Policy) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut tunnels = tokio::task::JoinSet::new();
    loop {
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) => {
                // No descriptors are left, for example; connections that end give some back.
                tracing::warn!("the proxy for image pulls cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let permit = room.clone().try_acquire_owned();
        tunnels.spawn(async move {
            if let Err(error) = tunnel(client, policy, permit.is_ok()).await {
                tracing::debug!("a tunnel of the proxy for image pulls ended: {error}");
            }
            drop(permit);
        });
        while tunnels.try_join_next().is_some() {}
    }
}

/// Serves one client. With no room for it, it is told so.
async fn tunnel(mut client: TcpStream, policy: Policy, has_room: bool) -> io::Result<()> {
    let reached = async {
        if !has_room {
            return Err(Refusal(503, format!("there are {MAX_CONNECTIONS} connections already")));
        }
        let late =
            |_| Refusal(408, format!("no request came within {} s", policy.request_time.as_secs_f32()));
        let (target, early) =
            timeout(policy.request_time, read_request(&mut client)).await.map_err(late)??;
        Ok((reach(&target, policy).await?, early))
    };
    let (mut server, early) = match reached.await {
        Ok(reached) => reached,
        Err(refusal) => return timeout(REQUEST_TIME, client.write_all(refusal.answer().as_bytes())).await?,
    };
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    server.write_all(&early).await?;
    relay(client, server, IDLE_TIME).await
}

/// Reads a request: its target, and what the client has sent behind it.
async fn read_request(client: &mut TcpStream) -> Result<(Target, Vec<u8>), Refusal> {
    let mut bytes = Vec::new();
    loop {
        if let Some((target, length)) = request::parse(&bytes)? {
            return Ok((target, bytes.split_off(length)));
        }
        let mut rest = client.take((MAX_HEAD - bytes.len()) as u64);
        let read = rest.read_buf(&mut bytes).await.map_err(|error| Refusal(400, error.to_string()))?;
        if read == 0 {
            return Err(Refusal(400, "the request ended in its middle".into()));
        }
    }
}

/// Connects to a server, if the policy allows it.
async fn reach(target: &Target, policy: Policy) -> Result<TcpStream, Refusal> {
    if let Some(why) = policy.closed {
        return Err(Refusal(403, format!("{target} is not asked: {why}")));
    }
    if !(policy.port)(target.port) {
        return Err(Refusal(403, format!("{target}: this proxy leads to the ports 80 and 443 only")));
    }
    let failed = |error: io::Error| Refusal(502, format!("this machine cannot reach {target}: {error}"));
    let connect = async {
        let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await.map_err(failed)?;
        let mut allowed = Vec::new();
        for address in found.take(MAX_ADDRESSES) {
            if policy.address.includes(address.ip()).await.map_err(failed)? {
                allowed.push(address);
            }
        }
        if allowed.is_empty() {
            let why = "this proxy leads only to where this machine's default route leads";
            return Err(Refusal(403, format!("{target}: {why}")));
        }
        TcpStream::connect(allowed.as_slice()).await.map_err(failed)
    };
    let late =
        |_| Refusal(504, format!("this machine did not reach {target} within {} s", CONNECT_TIME.as_secs()));
    timeout(CONNECT_TIME, connect).await.map_err(late)?
}

/// Carries bytes both ways until both have ended, one fails, or nothing has moved for `idle`.
async fn relay(client: TcpStream, server: TcpStream, idle: Duration) -> io::Result<()> {
    let moved = Notify::new();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        both = async { tokio::try_join!(carry(from_client, to_server, &moved), carry(from_server, to_client, &moved)) } => {
            both.map(drop)
        }
        () = async { while timeout(idle, moved.notified()).await.is_ok() {} } => Ok(()),
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &Notify,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        moved.notify_one();
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
    }
}

#[cfg(test)]
mod tests;
