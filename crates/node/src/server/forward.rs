//! Port-forward: the agent connects to the pod's ports itself, from within the pod's network namespace.
//!
//! The protocol is `portforward.k8s.io` over SPDY/3.1. For each connection the client opens two streams that have a
//! request's id in common: what is said goes over one of them, what goes wrong is told on the other. Each direction
//! ends by itself, so that a client that has said everything still hears the whole answer.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream as BlockingStream},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming as RequestBody, upgrade};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use super::{Body, Refusal};
use crate::{
    cni::netns,
    spdy::{self, Incoming, Stream},
};

/// Names the protocol, or those that the client speaks.
const PROTOCOL_HEADER: &str = "x-stream-protocol-version";
/// The one protocol.
const PROTOCOL: &str = "portforward.k8s.io";
/// How long a port may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one stream of a pair is waited for when the other is there (the kubelet's `streamCreationTimeout`).
const PAIR_TIMEOUT: Duration = Duration::from_secs(30);
/// The most connections of one client at a time.
const MAX_CONNECTIONS: usize = 256;
/// How much is read from a port at once, in bytes.
const CHUNK: usize = 16 << 10;

/// Whose ports.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// `name_namespace`, as messages name the pod.
    pub(super) pod: String,
    /// The pod's uid.
    pub(super) uid: String,
    /// Its network namespace; the node's own without one.
    pub(super) namespace: Option<PathBuf>,
}

/// Agrees to the upgrade, then forwards until the client leaves.
pub(super) fn serve(mut request: Request<RequestBody>, target: Target) -> Result<Response<Body>, Refusal> {
    let asked = request.headers().get_all(PROTOCOL_HEADER).iter().filter_map(|value| value.to_str().ok());
    let asked: Vec<&str> = asked.flat_map(|value| value.split(',')).map(str::trim).collect();
    if !asked.is_empty() && !asked.contains(&PROTOCOL) {
        let sentence = format!(
            "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{PROTOCOL}]",
            asked.join(" ")
        );
        return Err((StatusCode::FORBIDDEN, sentence));
    }
    let client = upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut connections = Connections::new(target);
        let served = async {
            let io = TokioIo::new(client.await.map_err(io::Error::other)?);
            spdy::serve(io, |stream| connections.take(stream)).await
        };
        if let Err(error) = served.await {
            tracing::debug!("a port-forward ended: {error}");
        }
    });
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    headers.insert(PROTOCOL_HEADER, HeaderValue::from_static(PROTOCOL));
    Ok(response)
}

/// The connections of one client; they end with the value.
struct Connections {
    target: Arc<Target>,
    /// Streams whose other half has not come yet, by the request's id.
    waiting: HashMap<String, (Stream, Instant)>,
    running: JoinSet<()>,
}

impl Connections {
    fn new(target: Target) -> Self {
        Self { target: Arc::new(target), waiting: HashMap::new(), running: JoinSet::new() }
    }

    /// Takes a stream; with the second of a pair a connection begins.
    fn take(&mut self, stream: Stream) {
        while self.running.try_join_next().is_some() {}
        let now = Instant::now();
        self.waiting.retain(|_, (_, since)| now.duration_since(*since) < PAIR_TIMEOUT);
        let is_error = match stream.headers().get("streamtype") {
            Some("error") => true,
            Some("data") => false,
            other => return tracing::debug!("a stream of type {other:?} is let go"),
        };
        // The oldest clients give no id: the stream for data is the next after that for errors.
        let id = stream.headers().get("requestid").map_or_else(
            || if is_error { stream.id() } else { stream.id().saturating_sub(2) }.to_string(),
            str::to_owned,
        );
        let Some((other, _)) = self.waiting.remove(&id) else {
            if self.waiting.len() + self.running.len() < MAX_CONNECTIONS {
                self.waiting.insert(id, (stream, now));
            } else {
                let refused = stream.split().1;
                self.running.spawn(async move { drop(refused.reset().await) });
            }
            return;
        };
        let (data, error) = if is_error { (other, stream) } else { (stream, other) };
        self.running.spawn(forward(self.target.clone(), data, error));
    }
}

async fn forward(target: Arc<Target>, data: Stream, error: Stream) {
    let port = data.headers().get("port").unwrap_or_default().to_owned();
    let outcome = match port.parse() {
        Ok(port) if port > 0 => connect(&target, port).await,
        _ => Err(io::Error::other("this is no port")),
    };
    let (_, errors) = error.split();
    let outcome = match outcome {
        Ok(stream) => join(stream, data).await,
        Err(failure) => {
            // The client learns that it ends from the error.
            let _ = data.split().1.end().await;
            Err(failure)
        }
    };
    if let Err(failure) = outcome {
        let Target { pod, uid, .. } = &*target;
        let sentence = format!("error forwarding port {port} to pod {pod}, uid {uid}: {failure}");
        let _ = errors.send(sentence.as_bytes()).await;
    }
    let _ = errors.end().await;
}

/// Connects to a port of the loopback interface in the pod's network namespace, IPv4 first.
async fn connect(target: &Target, port: u16) -> io::Result<TcpStream> {
    let namespace = target.namespace.clone();
    let here = move || {
        let dial = |ip: IpAddr| BlockingStream::connect_timeout(&SocketAddr::new(ip, port), CONNECT_TIMEOUT);
        dial(Ipv4Addr::LOCALHOST.into()).or_else(|error| dial(Ipv6Addr::LOCALHOST.into()).map_err(|_| error))
    };
    let inside = move || match namespace {
        // The socket stays where it was made.
        Some(namespace) => netns::within(&namespace, || Ok(here())).map_err(io::Error::other)?,
        None => here(),
    };
    let stream = tokio::task::spawn_blocking(inside).await.map_err(io::Error::other)?;
    let stream = stream
        .map_err(|error| io::Error::new(error.kind(), format!("dial tcp4 127.0.0.1:{port}: {error}")))?;
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

/// Carries both directions until the pod has said everything, or the client gives up.
async fn join(pod: TcpStream, data: Stream) -> io::Result<()> {
    let (mut from_pod, mut to_pod) = pod.into_split();
    let (mut from_client, to_client) = data.split();
    let asking = async {
        while let Some(incoming) = from_client.next().await {
            match incoming {
                Incoming::Data(data) => {
                    // What the pod does not want to hear does not keep it from answering.
                    if to_pod.write_all(&data).await.is_ok() {
                        from_client.took(data.len()).await;
                    }
                }
                Incoming::End => {
                    let _ = to_pod.shutdown().await;
                    return std::future::pending().await;
                }
            }
        }
    };
    let answering = async {
        let mut buffer = vec![0; CHUNK];
        loop {
            match from_pod.read(&mut buffer).await {
                Ok(0) => return Ok(()),
                Ok(count) => to_client.send(&buffer[..count]).await?,
                Err(error) => return Err(error),
            }
        }
    };
    let ended = tokio::select! {
        answered = answering => Some(answered),
        // The client has given the stream up.
        () = asking => None,
    };
    match ended {
        Some(Ok(())) => to_client.end().await,
        Some(Err(error)) => {
            let _ = to_client.reset().await;
            Err(error)
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_reached_by_either_address_and_an_error_names_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let own = Target { pod: "p_ns".into(), uid: "u".into(), namespace: None };
            for host in ["127.0.0.1:0", "[::1]:0"] {
                let listener = std::net::TcpListener::bind(host).unwrap();
                let port = listener.local_addr().unwrap().port();
                assert_eq!(connect(&own, port).await.unwrap().peer_addr().unwrap().port(), port);
                drop(listener);
                let error = connect(&own, port).await.unwrap_err().to_string();
                assert!(error.starts_with(&format!("dial tcp4 127.0.0.1:{port}: ")), "{error}");
            }
        });
    }
}
