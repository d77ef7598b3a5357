//! DNS over HTTPS (RFC 8484).

use std::io;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use pages::Connection;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::client::Client;
use crate::plan::{Action, SharedPlan};
use crate::wire::{LARGEST_TCP, Message};

/// The path of all queries.
const PATH: &str = "/dns-query";
const MEDIA_TYPE: &str = "application/dns-message";
/// The most queries of a connection under way.
const STREAMS: u32 = 128;

/// Answers the queries of a connection until its end.
pub(super) async fn serve_connection<S>(
    shared: Arc<SharedPlan>,
    client: Client,
    stream: S,
    connection: Arc<Connection>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let (shared, connection) = (shared.clone(), connection.clone());
        async move { Ok::<_, std::convert::Infallible>(answer(&shared, client, request, &connection).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(super::tcp::IDLE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(super::tcp::IDLE);
    builder.serve_connection(TokioIo::new(stream), service).await.map_err(io::Error::other)
}

async fn answer(
    shared: &SharedPlan,
    client: Client,
    request: Request<Incoming>,
    connection: &Arc<Connection>,
) -> Response<Full<Bytes>> {
    match query(request).await {
        Ok(packet) => {
            let _working = connection.busy();
            let (mut reply, plan, begun) = (Vec::new(), shared.plan(), Instant::now());
            let summary = plan.begin(&packet, client, &mut reply);
            if summary.action == Action::Wait {
                plan.finish(&packet, client, &mut reply).await;
            }
            plan.count(0, &summary, client, (&packet, &reply), begun.elapsed());
            if reply.is_empty() {
                return status(StatusCode::BAD_REQUEST, "this is no DNS query\n");
            }
            // Caches on the way must not keep the reply longer than its records (RFC 8484, 5.1).
            let age = format!("max-age={}", shortest_ttl(&reply));
            let mut response = Response::new(Full::new(Bytes::from(reply)));
            response
                .headers_mut()
                .insert("content-type", hyper::header::HeaderValue::from_static(MEDIA_TYPE));
            if let Ok(age) = age.parse() {
                response.headers_mut().insert("cache-control", age);
            }
            response
        }
        Err((code, text)) => status(code, text),
    }
}

/// The query in a request: the body of a POST, or the variable `dns` of a GET.
async fn query(request: Request<Incoming>) -> Result<Vec<u8>, (StatusCode, &'static str)> {
    if request.uri().path() != PATH {
        return Err((StatusCode::NOT_FOUND, "queries are answered at /dns-query (RFC 8484)\n"));
    }
    match *request.method() {
        Method::GET => {
            let variables = request.uri().query().unwrap_or_default().split('&');
            let text = variables.filter_map(|pair| pair.strip_prefix("dns=")).next();
            let text = text.map(|text| text.trim_end_matches('='));
            text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or((
                StatusCode::BAD_REQUEST,
                "the variable dns must hold a query in base64url (RFC 8484)\n",
            ))
        }
        Method::POST => {
            let kind = request.headers().get("content-type");
            if kind.is_none_or(|kind| kind != MEDIA_TYPE) {
                return Err((
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "send application/dns-message (RFC 8484)\n",
                ));
            }
            let body = Limited::new(request.into_body(), LARGEST_TCP).collect().await;
            body.map(|body| body.to_bytes().to_vec())
                .map_err(|_| (StatusCode::PAYLOAD_TOO_LARGE, "a query has 65535 bytes at most\n"))
        }
        _ => Err((StatusCode::METHOD_NOT_ALLOWED, "queries come by GET or POST (RFC 8484)\n")),
    }
}

fn shortest_ttl(reply: &[u8]) -> u32 {
    let records = Message::read(reply).and_then(Message::records).unwrap_or_default();
    records.iter().map(|(_, record)| record.ttl).min().unwrap_or(0)
}

fn status(code: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = code;
    response
}
