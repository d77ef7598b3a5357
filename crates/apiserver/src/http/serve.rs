//! Listening: TLS, the client's certificate, HTTP/1.1 and HTTP/2.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::dispatch;
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

/// Serves one listener until `shutdown`.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    listener: TcpListener,
    tls: TlsAcceptor,
    shutdown: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    server.http2().timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE);
    let server = Arc::new(server);
    tokio::pin!(shutdown);
    loop {
        let stream = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let watcher = graceful.watcher();
        tokio::spawn(connection(shared.clone(), stream, tls.clone(), server.clone(), watcher));
    }
    if timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::debug!("some connections were still open when the server stopped");
    }
}

async fn connection(
    shared: Arc<Shared>,
    stream: TcpStream,
    tls: TlsAcceptor,
    server: Arc<auto::Builder<TokioExecutor>>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let stream = match timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake took too long"),
    };
    let certificates = stream.get_ref().1.peer_certificates();
    let user = certificates.and_then(|chain| User::from_certificate(chain.first()?));
    let service = service_fn(move |request| {
        let (shared, user) = (shared.clone(), user.clone());
        async move { Ok::<_, Infallible>(dispatch::handle(&shared, request, user).await) }
    });
    let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended early");
    }
}
