//! Listening: TLS, the client's certificate, HTTP/1.1 and HTTP/2.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use api::status::Status;
use http::header::{CONNECTION, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::connections::Connection;
use super::dispatch::{self, Client};
use super::respond;
use crate::Shared;
use crate::identity::User;

/// A client that connects has this long to finish its handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections have this long to end by themselves when the server stops.
const DRAIN: Duration = Duration::from_secs(1);
/// A quiet HTTP/2 connection is asked this often whether its client still lives, and closed when no
/// answer comes within the same time: else the watches of a client that vanished stay for an hour.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// After a failed accept (no file descriptors left, for example) the server waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The head of a request has this long to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection without requests is closed after this time (upstream's idle timeout).
const IDLE: Duration = Duration::from_secs(90);
/// A connection that is told to end has this long for it.
const FAREWELL: Duration = Duration::from_secs(5);
/// The most requests at a time on one HTTP/2 connection (Go's default); clients open another connection for more.
const STREAMS: u32 = 250;
/// The buffers of a connection, and of each of its streams, in bytes.
const BUFFER: usize = 64 * 1024;
/// So much of the bodies of requests may lie in one connection's buffers, in bytes.
const BODY_WINDOW: u32 = 256 * 1024;
/// The head of a request has at most so many bytes.
const HEAD: u32 = 64 * 1024;

/// Serves one listener until `shutdown`.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    listener: TcpListener,
    tls: TlsAcceptor,
    shutdown: impl Future<Output = ()>,
) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(BUFFER);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(BUFFER)
        .max_header_list_size(HEAD)
        .initial_stream_window_size(BODY_WINDOW)
        .initial_connection_window_size(BODY_WINDOW);
    let server = Arc::new(server);
    let (stop, stopped) = watch::channel(false);
    // Each connection holds a sender: when all are gone, none is open.
    let (open, mut closed) = mpsc::channel::<()>(1);
    tokio::pin!(shutdown);
    loop {
        let (stream, address) = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let Some(connection) = shared.connections.admit().await else {
            tracing::warn!(%address, "too many connections, and all of them work: a new one is closed");
            continue;
        };
        let (shared, tls, server) = (shared.clone(), tls.clone(), server.clone());
        let (open, stopped) = (open.clone(), stopped.clone());
        tokio::spawn(async move {
            serve_connection(shared, stream, address, tls, server, connection, stopped).await;
            drop(open);
        });
    }
    drop(open);
    stop.send_replace(true);
    if timeout(DRAIN, closed.recv()).await.is_err() {
        tracing::debug!("some connections were still open when the server stopped");
    }
}

async fn serve_connection(
    shared: Arc<Shared>,
    stream: TcpStream,
    address: SocketAddr,
    tls: TlsAcceptor,
    server: Arc<auto::Builder<TokioExecutor>>,
    connection: Arc<Connection>,
    mut stopped: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let handshake = tokio::select! {
        handshake = timeout(HANDSHAKE, tls.accept(stream)) => handshake,
        () = connection.must_close(HANDSHAKE) => return,
    };
    let stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake took too long"),
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let user = certificates.and_then(|chain| User::from_certificate(chain.first()?));
    let name = user.as_ref().map(|user| user.name.as_str()).unwrap_or_default();
    let Some(peer) = shared.connections.identify(&connection, name, address.ip()).await else {
        tracing::warn!(user = name, %address, "too many connections of one peer, and all of them are busy");
        return refuse(&server, stream).await;
    };
    let client = Arc::new(Client { user, place: Some((peer, connection.clone())) });
    let service = service_fn(move |request| {
        let (shared, client) = (shared.clone(), client.clone());
        async move { Ok::<_, Infallible>(dispatch::handle(&shared, request, &client).await) }
    });
    let mut http = pin!(server.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned());
    let ended = tokio::select! {
        ended = http.as_mut() => ended,
        () = async { drop(stopped.wait_for(|stopped| *stopped).await) } => {
            http.as_mut().graceful_shutdown();
            http.as_mut().await
        }
        () = connection.must_close(IDLE) => {
            http.as_mut().graceful_shutdown();
            timeout(FAREWELL, http.as_mut()).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Answers that there are too many, and closes.
async fn refuse(server: &auto::Builder<TokioExecutor>, stream: tokio_rustls::server::TlsStream<TcpStream>) {
    let service = service_fn(|_| async {
        let mut response = respond::status(&Status::too_many_requests());
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        Ok::<_, Infallible>(response)
    });
    drop(timeout(FAREWELL, server.serve_connection(TokioIo::new(stream), service)).await);
}
