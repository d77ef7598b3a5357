//! Queries over HTTPS (RFC 8484).

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;

use crate::wire::LARGEST_TCP;

/// The media type of a message (RFC 8484, 6).
const MESSAGE: &str = "application/dns-message";

/// A connection over HTTP/2, opened when it is needed and kept for later queries.
#[derive(Debug, Default)]
pub(super) struct Connection {
    /// The connection, and when it was used last.
    line: Mutex<Option<(Line, Instant)>>,
}

type Line = SendRequest<Full<Bytes>>;

impl Connection {
    /// Posts a query and waits for the reply. Returns whether the connection was open before.
    ///
    /// # Errors
    /// When a connection cannot be opened, it breaks, or the reply is no DNS message.
    pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
        &self,
        (host, to): (&str, SocketAddr),
        packet: Vec<u8>,
        expire: Duration,
        connect: impl Future<Output = io::Result<S>>,
    ) -> io::Result<(Vec<u8>, bool)> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("https://{host}:{}/dns-query", to.port()))
            .header(CONTENT_TYPE, MESSAGE)
            .header(ACCEPT, MESSAGE)
            .body(Full::new(Bytes::from(packet)))
            .map_err(io::Error::other)?;
        // It is awaited at most once: only a connection that was open before is replaced.
        let mut connect = std::pin::pin!(connect);
        let (kept, there) = self.line(connect.as_mut(), expire).await?;
        let reply = match post(kept, request.clone()).await {
            // The resolver may have closed a kept connection.
            Err(_) if there => post(self.line(connect, Duration::ZERO).await?.0, request).await?,
            said => said?,
        };
        if !reply.status().is_success() {
            return Err(io::Error::other(format!("it says {}", reply.status())));
        }
        let body = Limited::new(reply.into_body(), LARGEST_TCP).collect().await.map_err(io::Error::other)?;
        Ok((body.to_bytes().into(), there))
    }

    /// The connection. An open one is used if its last query was less than `expire` ago. Returns whether it was open
    /// before.
    async fn line<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
        &self,
        connect: impl Future<Output = io::Result<S>>,
        expire: Duration,
    ) -> io::Result<(Line, bool)> {
        let mut line = self.line.lock().await;
        let fresh = |line: &&mut (Line, Instant)| !line.0.is_closed() && line.1.elapsed() < expire;
        if let Some((line, used)) = line.as_mut().filter(fresh) {
            *used = Instant::now();
            return Ok((line.clone(), true));
        }
        let stream = TokioIo::new(connect.await?);
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), stream).await.map_err(io::Error::other)?;
        // Its end is reported to the queries that wait for replies.
        tokio::spawn(async move { drop(connection.await) });
        Ok((line.insert((sender, Instant::now())).0.clone(), false))
    }
}

async fn post(mut line: Line, request: Request<Full<Bytes>>) -> io::Result<Response<Incoming>> {
    line.send_request(request).await.map_err(io::Error::other)
}
