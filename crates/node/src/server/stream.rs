//! Exec and attach: the client's upgraded connection is handed on to the runtime's streaming
//! server, byte for byte. Nothing here understands SPDY.

use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, upgrade};
use hyper_util::rt::TokioIo;
use tokio::{io::copy_bidirectional, net::TcpStream};

use super::{Body, Refusal};

/// How long the runtime may take to agree to a stream.
const AGREEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Refuses requests that cannot become a stream: without upgrade, and for WebSocket, after whose refusal
/// kubectl tries SPDY.
pub(super) fn check(request: &Request<Incoming>) -> Result<(), Refusal> {
    let upgrade = request.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok());
    match upgrade {
        None => Err((StatusCode::BAD_REQUEST, "this path needs an upgraded connection (SPDY/3.1)".into())),
        Some(upgrade) if upgrade.eq_ignore_ascii_case("websocket") => {
            Err((StatusCode::BAD_REQUEST, "WebSocket is not served by this node; use SPDY/3.1".into()))
        }
        Some(_) => Ok(()),
    }
}

/// Repeats the request at the runtime's `url`; if that agrees to the upgrade in time, joins the two connections.
pub(super) async fn hand_on(request: Request<Incoming>, url: &str) -> Result<Response<Body>, Refusal> {
    let late = |_| {
        let sentence = format!(
            "the container runtime's streaming server did not answer within {} s; is it still running?",
            AGREEMENT_TIMEOUT.as_secs()
        );
        (StatusCode::BAD_GATEWAY, sentence)
    };
    tokio::time::timeout(AGREEMENT_TIMEOUT, agree(request, url)).await.map_err(late)?
}

async fn agree(mut request: Request<Incoming>, url: &str) -> Result<Response<Body>, Refusal> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        (StatusCode::BAD_GATEWAY, format!("cannot {what} the container runtime's streaming server: {error}"))
    };
    let target: Uri = url.parse().map_err(|error| failed("find", &error))?;
    let authority = target.authority().map(ToString::to_string).unwrap_or_default();
    let stream = TcpStream::connect(&authority).await.map_err(|error| failed("reach", &error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed("talk to", &error))?;
    tokio::spawn(connection.with_upgrades());

    let mut onward = Request::new(Empty::<bytes::Bytes>::new());
    *onward.method_mut() = request.method().clone();
    *onward.headers_mut() = request.headers().clone();
    onward.headers_mut().remove(header::CONTENT_LENGTH);
    let host = HeaderValue::from_str(&authority).map_err(|error| failed("name", &error))?;
    onward.headers_mut().insert(header::HOST, host);
    let path = target.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    *onward.uri_mut() = path.parse().map_err(|error| failed("find", &error))?;
    let mut answer = sender.send_request(onward).await.map_err(|error| failed("ask", &error))?;

    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(answer.map(|body| body.map_err(std::io::Error::other).boxed_unsync()));
    }
    let (client, runtime) = (upgrade::on(&mut request), upgrade::on(&mut answer));
    tokio::spawn(async move {
        let joined = async {
            let (client, runtime) = tokio::try_join!(client, runtime).map_err(std::io::Error::other)?;
            copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(runtime)).await
        };
        if let Err(error) = joined.await {
            tracing::debug!("a stream to a container ended: {error}");
        }
    });
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = answer.headers().clone();
    Ok(response)
}
