//! gRPC probes: the health checking protocol, `grpc.health.v1.Health/Check` (grpc/doc/health-checking.md).

use std::{net::SocketAddr, time::Duration};

use http::uri::PathAndQuery;
use tonic::{Code, Request, transport::Endpoint};
use tonic_prost::ProstCodec;

/// The call of the protocol.
const CHECK: &str = "/grpc.health.v1.Health/Check";

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(enumeration = "Health", tag = "1")]
    status: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum Health {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}

/// Asks the server at `address` for the health of `service`, or of the server itself when that is empty. The
/// sentences of failures are the kubelet's.
pub(super) async fn check(address: SocketAddr, service: &str, limit: Duration) -> Result<(), String> {
    let connect = async {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?.user_agent("kube-probe/1.36")?;
        endpoint.connect().await
    };
    let channel = match tokio::time::timeout(limit, connect).await {
        Ok(connected) => connected.map_err(|error| {
            format!("error: failed to connect service at \"{address}\": {}", whole(&error))
        })?,
        Err(_) => return Err(format!("timeout: failed to connect service \"{address}\" within {limit:?}")),
    };
    let ask = async {
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.map_err(|error| tonic::Status::unavailable(whole(&error)))?;
        let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
        let request = Request::new(HealthCheckRequest { service: service.to_owned() });
        client.unary(request, PathAndQuery::from_static(CHECK), codec).await
    };
    let late = || format!("timeout: health rpc did not complete within {limit:?}");
    let answer = tokio::time::timeout(limit, ask).await.map_err(|_| late())?;
    let answer = answer.map_err(|status| match status.code() {
        Code::Unimplemented => format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
            status.message()
        ),
        Code::DeadlineExceeded => late(),
        code => format!("error: health rpc probe failed: {code:?}: {}", status.message()),
    })?;
    match answer.into_inner().status() {
        Health::Serving => Ok(()),
        other => Err(format!("service unhealthy (responded with \"{}\")", name(other))),
    }
}

fn name(status: Health) -> &'static str {
    match status {
        Health::Unknown => "UNKNOWN",
        Health::Serving => "SERVING",
        Health::NotServing => "NOT_SERVING",
        Health::ServiceUnknown => "SERVICE_UNKNOWN",
    }
}

/// An error with what caused it.
fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures::stream;
    use http::{HeaderMap, Response};
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use hyper::{body::Incoming, server::conn::http2, service::service_fn};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use prost::Message;
    use tokio::net::TcpListener;

    use super::*;

    /// A gRPC server over HTTP/2: `well` is healthy, `ill` is not, `gone` is not known, and `slow` never answers.
    async fn server(has_health: bool) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service_fn(move |request| answer(request, has_health));
                let connection =
                    http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        address
    }

    type Frames = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

    async fn answer(
        request: http::Request<Incoming>,
        has_health: bool,
    ) -> Result<Response<Frames>, Infallible> {
        let is_check = request.uri().path() == "/grpc.health.v1.Health/Check";
        assert_eq!(request.headers()["content-type"], "application/grpc");
        let agent = request.headers()["user-agent"].to_str().unwrap().to_owned();
        assert!(agent.starts_with("kube-probe/"), "{agent}");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let asked = HealthCheckRequest::decode(&body[5..]).unwrap().service;
        let (code, status) = match asked.as_str() {
            _ if !has_health || !is_check => (12, None),
            "well" | "" => (0, Some(Health::Serving)),
            "ill" => (0, Some(Health::NotServing)),
            "slow" => std::future::pending().await,
            _ => (5, None),
        };
        let mut frames = Vec::new();
        if let Some(status) = status {
            let message = HealthCheckResponse { status: status.into() }.encode_to_vec();
            let length = u32::try_from(message.len()).unwrap().to_be_bytes();
            frames.push(Ok(Frame::data([&[0][..], &length, &message].concat().into())));
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", code.into());
        trailers.insert("grpc-message", "said".parse().unwrap());
        frames.push(Ok(Frame::trailers(trailers)));
        let response = Response::builder().header("content-type", "application/grpc");
        Ok(response.body(StreamBody::new(stream::iter(frames))).unwrap())
    }

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn only_a_service_that_serves_is_healthy() {
        let address = server(true).await;
        assert_eq!(check(address, "well", LIMIT).await, Ok(()));
        assert_eq!(check(address, "", LIMIT).await, Ok(()));
        let error = check(address, "ill", LIMIT).await.unwrap_err();
        assert_eq!(error, "service unhealthy (responded with \"NOT_SERVING\")");
        let error = check(address, "gone", LIMIT).await.unwrap_err();
        assert_eq!(error, "error: health rpc probe failed: NotFound: said");
        let error = check(address, "slow", Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error, "timeout: health rpc did not complete within 50ms");
    }

    #[tokio::test]
    async fn a_server_without_the_protocol_and_one_that_is_not_there_are_unhealthy() {
        let error = check(server(false).await, "", LIMIT).await.unwrap_err();
        assert!(
            error.starts_with("error: this server does not implement the grpc health protocol"),
            "{error}"
        );
        let closed = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
        let error = check(closed, "", LIMIT).await.unwrap_err();
        assert!(error.starts_with("error: failed to connect service at \"127.0.0.1:"), "{error}");
    }

    #[tokio::test]
    async fn a_port_that_only_accepts_connections_is_not_healthy() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                held.push(stream);
            }
        });
        assert!(check(address, "", Duration::from_millis(200)).await.is_err());
    }
}
