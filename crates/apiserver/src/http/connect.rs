//! Logs, exec, attach and port-forward: handed on to the node that runs the pod.
//!
//! The node's agent serves these on its own port and asks for a certificate of the cluster. This
//! server relays the client's request, and for the interactive ones its upgraded connection, byte
//! for byte.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use api::field::FieldError;
use api::status::Status;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{CONNECTION, HOST, HeaderMap, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::connections::{Busy, Connection};
use super::objects::{Answer, Call};
use super::query::Query;
use super::respond::{self, Body};
use crate::object::meta_str;

/// A connection to a node's agent, already authenticated.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// How this server reaches the agents of the nodes.
pub trait Nodes: Send + Sync + std::fmt::Debug {
    /// Opens an authenticated connection to the agent of a node.
    fn connect<'a>(
        &'a self,
        node: &'a str,
        address: SocketAddr,
    ) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>>;
}

/// Where the request goes on the node: `exec` takes its streams under other names there.
const STREAMS: [(&str, &str); 4] =
    [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")];

impl Call<'_> {
    /// Serves one of the subresources that the pod's node answers.
    pub(crate) async fn connect(
        &self,
        name: &str,
        part: &str,
        nodes: &dyn Nodes,
        upgrade: Option<OnUpgrade>,
    ) -> Answer {
        let allowed: &[Method] = if part == "log" { &[Method::GET] } else { &[Method::GET, Method::POST] };
        if !allowed.contains(&self.parts.method) {
            return Err(Status::method_not_allowed());
        }
        if part == "log" {
            check_log(name, &self.query)?;
        }
        let pod = self.registry.get(self.kind, self.namespace(), name).await?;
        let (node, address) = self.agent(&pod).await?;
        let target = target(&pod, part, self.parts.uri.query())?;
        if part != "log" {
            check_upgrade(&self.parts.headers)?;
        }
        let unreachable = |error: &dyn std::fmt::Display| {
            Status::internal(format!(
                "error dialing backend: the agent of node {node:?} at {address} does not answer: {error}"
            ))
        };
        let connection = nodes.connect(&node, address).await.map_err(|error| unreachable(&error))?;
        let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(connection))
            .await
            .map_err(|error| unreachable(&error))?;
        tokio::spawn(driver.with_upgrades());
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = target.parse().map_err(Status::internal)?;
        for (header, value) in &self.parts.headers {
            let relayed =
                header == UPGRADE || header == CONNECTION || header.as_str().starts_with("x-stream");
            if relayed && part != "log" {
                request.headers_mut().append(header, value.clone());
            }
        }
        if let Ok(host) = address.to_string().parse() {
            request.headers_mut().insert(HOST, host);
        }
        let response = sender.send_request(request).await.map_err(|error| unreachable(&error))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return relay_answer(response, part).await;
        }
        let upgrade = upgrade.ok_or_else(|| Status::bad_request("this connection cannot be upgraded"))?;
        let busy = self.parts.extensions.get::<Arc<Connection>>().map(Connection::busy);
        Ok(relay_upgrade(response, upgrade, busy))
    }

    /// The name and address of the agent of the pod's node.
    async fn agent(&self, pod: &Value) -> Result<(String, SocketAddr), Status> {
        let name = meta_str(pod, "name");
        let node = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty());
        let node =
            node.ok_or_else(|| Status::bad_request(format!("pod {name} does not have a host assigned")))?;
        let nodes = self
            .registry
            .schema
            .resource("", "v1", "nodes")
            .ok_or_else(|| Status::internal("nodes are not in the schema"))?;
        let object = self.registry.get(nodes, None, node).await?;
        let addresses = object["status"]["addresses"].as_array().into_iter().flatten();
        let ip: Option<IpAddr> = addresses
            .filter(|address| address["type"] == "InternalIP")
            .find_map(|address| address["address"].as_str()?.parse().ok());
        let port = object["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64();
        match (ip, port.and_then(|port| u16::try_from(port).ok())) {
            (Some(ip), Some(port)) => Ok((node.to_owned(), SocketAddr::new(ip, port))),
            _ => Err(Status::unavailable(format!("node {node:?} has not said where its agent listens"))),
        }
    }
}

/// The path on the node.
fn target(pod: &Value, part: &str, query: Option<&str>) -> Result<String, Status> {
    let (namespace, name) = (meta_str(pod, "namespace"), meta_str(pod, "name"));
    if part == "portforward" {
        return Ok(format!("/portForward/{namespace}/{name}"));
    }
    let pairs: Vec<(String, String)> =
        form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let asked = pairs.iter().find(|(key, value)| key == "container" && !value.is_empty());
    let container = container(pod, asked.map(|(_, value)| value.as_str()), part)?;
    let verb = if part == "log" { "containerLogs" } else { part };
    let mut relayed = form_urlencoded::Serializer::new(String::new());
    for (key, value) in &pairs {
        match STREAMS.iter().find(|(ours, _)| ours == key) {
            Some((_, theirs)) if part != "log" => {
                relayed.append_pair(theirs, if value == "true" || value == "1" { "1" } else { "0" });
            }
            _ if key != "container" => {
                relayed.append_pair(key, value);
            }
            _ => {}
        }
    }
    Ok(format!("/{verb}/{namespace}/{name}/{container}?{}", relayed.finish()))
}

/// The rules of the numbers in a request for a log (`pkg/apis/core/validation`, PodLogOptions).
pub(crate) fn check_log(name: &str, query: &Query) -> Result<(), Status> {
    let mut errors = Vec::new();
    for (field, least, detail) in [
        ("tailLines", 0, "must be greater than or equal to 0"),
        ("limitBytes", 1, "must be greater than 0"),
        ("sinceSeconds", 1, "must be greater than 0"),
    ] {
        if let Some(number) = query.number(field)?.filter(|number| *number < least) {
            errors.push(FieldError::invalid(field, number, detail));
        }
    }
    if query.get("sinceSeconds").is_some() && query.get("sinceTime").is_some() {
        let detail = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.push(FieldError::forbidden("", detail));
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid_part("PodLogOptions", name, errors)) }
}

/// The container that is meant: the one named, else the only one, else the pod's default.
fn container<'a>(pod: &'a Value, asked: Option<&'a str>, part: &str) -> Result<&'a str, Status> {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    let names = |list: &str| {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        containers.filter_map(|container| container["name"].as_str()).collect::<Vec<_>>()
    };
    let name = meta_str(pod, "name");
    let main = names("containers");
    match asked {
        Some(asked) if lists.iter().any(|list| names(list).contains(&asked)) => Ok(asked),
        Some(asked) => Err(Status::bad_request(format!("container {asked} is not valid for pod {name}"))),
        None => {
            let default = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
            match (default.filter(|default| main.contains(default)), main.as_slice()) {
                (Some(default), _) => Ok(default),
                (None, [only]) => Ok(only),
                (None, [first, ..]) if part != "log" => Ok(first),
                (None, _) => Err(Status::bad_request(format!(
                    "a container name must be specified for pod {name}, choose one of: [{}]",
                    main.join(" ")
                ))),
            }
        }
    }
}

/// The node's runtime speaks SPDY; a client that offers WebSocket first falls back when refused.
fn check_upgrade(headers: &HeaderMap) -> Result<(), Status> {
    let protocol = headers.get(UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match protocol.to_ascii_lowercase().as_str() {
        "" => Err(Status::bad_request("Upgrade request required")),
        "websocket" => Err(Status::bad_request("this server streams over SPDY/3.1, not yet over WebSocket")),
        _ => Ok(()),
    }
}

/// An answer of the node that is no stream: the log, or why there is none.
async fn relay_answer(response: Response<hyper::body::Incoming>, part: &str) -> Answer {
    let code = response.status();
    if code.is_success() && part == "log" {
        let body = response.into_body().map_err(io::Error::other).boxed_unsync();
        return Ok(respond::with_type(StatusCode::OK, "text/plain", body));
    }
    let body =
        response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let text = String::from_utf8_lossy(&body).trim().to_owned();
    Err(match code.as_u16() {
        400 => Status::bad_request(text),
        404 => Status::new(404, api::status::Reason::NotFound, text),
        _ => Status::internal(text),
    })
}

/// Joins the client's connection with the node's.
fn relay_upgrade(
    mut response: Response<hyper::body::Incoming>,
    client: OnUpgrade,
    busy: Option<Busy>,
) -> Response<Body> {
    let node = hyper::upgrade::on(&mut response);
    let mut answer = Response::new(respond::full(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = response.headers().clone();
    tokio::spawn(async move {
        let joined = async {
            let (client, node) = tokio::try_join!(client, node).map_err(io::Error::other)?;
            tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(node)).await
        };
        if let Err(error) = joined.await {
            tracing::debug!(%error, "a stream to a node ended early");
        }
        drop(busy);
    });
    answer
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Value {
        json!({
            "metadata": {"name": "web", "namespace": "dev"},
            "spec": {"containers": [{"name": "main"}, {"name": "side"}], "initContainers": [{"name": "init"}]},
        })
    }

    #[test]
    fn exec_takes_its_streams_under_the_nodes_names() {
        let query = "command=sh&command=-c&command=echo+hi&stdin=true&stdout=true&tty=false&container=main";
        assert_eq!(
            target(&pod(), "exec", Some(query)).unwrap(),
            "/exec/dev/web/main?command=sh&command=-c&command=echo+hi&input=1&output=1&tty=0"
        );
    }

    #[test]
    fn a_log_of_several_containers_needs_a_choice() {
        let error = target(&pod(), "log", None).unwrap_err();
        assert_eq!(
            error.message,
            "a container name must be specified for pod web, choose one of: [main side]"
        );
        assert_eq!(
            target(&pod(), "log", Some("container=init&follow=true")).unwrap(),
            "/containerLogs/dev/web/init?follow=true"
        );
        assert_eq!(
            target(&pod(), "log", Some("container=x")).unwrap_err().message,
            "container x is not valid for pod web"
        );
    }

    #[test]
    fn numbers_of_a_log_are_checked_before_the_node_sees_them() {
        for (query, code) in [
            ("tailLines=0&limitBytes=1&sinceSeconds=9223372036854775807", None),
            ("tailLines=18446744073709551615", Some(400)),
            ("sinceSeconds=1h", Some(400)),
            ("tailLines=-1", Some(422)),
            ("limitBytes=0", Some(422)),
            ("sinceSeconds=0", Some(422)),
            ("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", Some(422)),
        ] {
            let found = check_log("web", &Query::parse(Some(query)));
            assert_eq!(found.err().map(|status| status.code), code, "{query}");
        }
    }

    #[test]
    fn websocket_is_refused_so_that_clients_fall_back() {
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, "websocket".parse().unwrap());
        assert_eq!(check_upgrade(&headers).unwrap_err().code, 400);
        headers.insert(UPGRADE, "SPDY/3.1".parse().unwrap());
        check_upgrade(&headers).unwrap();
    }
}
