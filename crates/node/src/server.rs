//! The node's own API, with the kubelet's paths: logs, exec, attach, port-forward. Whoever calls it shows a client
//! certificate of the cluster, and may do what the API server consents to.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::{
    Config, Error,
    cri::messages::{AttachRequest, ExecRequest},
    pod::{Context, Entry},
};

mod access;
mod forward;
mod logs;
mod query;
mod stream;
mod tls;

use access::{Caller, Gate};
use query::Query;

/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A body that is known, or that is still being read.
type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The listening server.
pub(crate) struct Server {
    listener: TcpListener,
    tls: TlsAcceptor,
    port: u16,
}

impl Server {
    /// Listens on the node's address.
    pub(crate) async fn bind(config: &Config) -> Result<Self, Error> {
        let address = SocketAddr::new(config.internal_ip, config.port);
        let failed = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        Ok(Self { listener, tls: tls::acceptor(config)?, port })
    }

    /// The TCP port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Serves for ever. Dropping the future ends all connections.
    pub(crate) async fn serve(self, context: Arc<Context>) -> Result<(), Error> {
        let mut connections = JoinSet::new();
        let server = access::Server { client: context.client.clone(), node: context.config.name.clone() };
        let gate = Arc::new(Gate::new(server));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (tls, context, gate) = (self.tls.clone(), context.clone(), gate.clone());
                    connections.spawn(async move {
                        match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                            Ok(Ok(stream)) => {
                                let shown = stream.get_ref().1.peer_certificates();
                                let caller = shown.and_then(|chain| Caller::from_certificate(chain.first()?));
                                connection(TokioIo::new(stream), Visit { context, gate, caller }).await;
                            }
                            Ok(Err(error)) => tracing::debug!("{peer}: no TLS connection: {error}"),
                            Err(_) => tracing::debug!("{peer}: no TLS handshake in time"),
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!("the node's API cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// What the requests of one connection share.
struct Visit {
    context: Arc<Context>,
    gate: Arc<Gate<access::Server>>,
    /// None who has shown no certificate.
    caller: Option<Caller>,
}

async fn connection(io: impl hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static, visit: Visit) {
    let service = service_fn(|request| async { Ok::<_, Infallible>(answer(&visit, request).await) });
    let mut server = hyper::server::conn::http1::Builder::new();
    // With a clock, a request's head has its usual 30 s to arrive.
    let served = server.timer(TokioTimer::new()).serve_connection(io, service).with_upgrades();
    if let Err(error) = served.await {
        tracing::debug!("a connection to the node's API ended: {error}");
    }
}

/// A refusal: status and sentence.
type Refusal = (StatusCode, String);

async fn answer(visit: &Visit, request: Request<Incoming>) -> Response<Body> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let admitted = visit.gate.admit(visit.caller.as_ref(), &method, &path).await;
    let answered = match admitted {
        Ok(()) => route(&visit.context, request).await,
        Err(refusal) => Err(refusal),
    };
    match answered {
        Ok(response) => response,
        Err((status, sentence)) => text(status, sentence),
    }
}

async fn route(context: &Arc<Context>, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let path = request.uri().path().to_owned();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let runtime = &context.runtime;
    let failed = |error: crate::cri::RuntimeError| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    match (request.method(), parts.as_slice()) {
        (&Method::GET, ["healthz"]) => Ok(text(StatusCode::OK, "ok".into())),
        (&Method::GET, ["pods"]) => {
            let pods = context.pods.all();
            let items: Vec<_> = pods.iter().map(AsRef::as_ref).collect();
            let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items});
            Ok(json_body(&list.to_string()))
        }
        (&Method::GET, ["containerLogs", namespace, pod, container]) => {
            logs::serve(context, &entry(context, namespace, pod)?, container, &query).await
        }
        (&Method::GET | &Method::POST, ["exec", namespace, pod, rest @ ..]) => {
            stream::check(&request)?;
            answering(context)?;
            let exec = ExecRequest {
                container_id: running(&entry(context, namespace, pod)?, rest)?,
                cmd: query.all("command"),
                tty: query.flag(&["tty"]),
                stdin: query.flag(&["input", "stdin"]),
                stdout: query.flag(&["output", "stdout"]),
                stderr: query.flag(&["error", "stderr"]),
            };
            let url = runtime.exec(exec).await.map_err(failed)?.url;
            stream::hand_on(request, &url).await
        }
        (&Method::GET | &Method::POST, ["attach", namespace, pod, rest @ ..]) => {
            stream::check(&request)?;
            answering(context)?;
            let attach = AttachRequest {
                container_id: running(&entry(context, namespace, pod)?, rest)?,
                tty: query.flag(&["tty"]),
                stdin: query.flag(&["input", "stdin"]),
                stdout: query.flag(&["output", "stdout"]),
                stderr: query.flag(&["error", "stderr"]),
            };
            let url = runtime.attach(attach).await.map_err(failed)?.url;
            stream::hand_on(request, &url).await
        }
        (&Method::GET | &Method::POST, ["portForward", namespace, pod, ..]) => {
            stream::check(&request)?;
            answering(context)?;
            let entry = entry(context, namespace, pod)?;
            let sandbox = entry.sandbox();
            let sandbox =
                sandbox.ok_or_else(|| (StatusCode::BAD_REQUEST, format!("pod {pod:?} is not running")))?;
            let spec = entry.pod.spec.as_ref();
            let on_node = spec.is_some_and(|spec| spec.host_network == Some(true));
            let inside = if on_node {
                None
            } else {
                let silent = "the container runtime does not tell the pod's network namespace";
                let told = runtime.network_namespace(&sandbox).await.map_err(failed)?;
                Some(told.ok_or_else(|| (StatusCode::INTERNAL_SERVER_ERROR, silent.to_owned()))?)
            };
            let target = forward::Target {
                pod: format!("{pod}_{namespace}"),
                uid: entry.pod.metadata.uid.clone().unwrap_or_default(),
                namespace: inside,
            };
            forward::serve(request, target)
        }
        _ => Err((StatusCode::NOT_FOUND, format!("the node's API has nothing at {path}"))),
    }
}

/// Refuses what needs the runtime while that does not answer.
fn answering(context: &Context) -> Result<(), Refusal> {
    match &context.health.borrow().runtime {
        Some(problem) => Err((StatusCode::INTERNAL_SERVER_ERROR, problem.clone())),
        None => Ok(()),
    }
}

fn entry(context: &Context, namespace: &str, pod: &str) -> Result<Entry, Refusal> {
    let missing =
        || (StatusCode::NOT_FOUND, format!("pod \"{pod}_{namespace}\" does not exist on this node"));
    context.pods.get(namespace, pod).ok_or_else(missing)
}

/// The id of the running container that `rest` of a path names: `<container>` or `<uid>/<container>`.
fn running(entry: &Entry, rest: &[&str]) -> Result<String, Refusal> {
    let container = rest.last().copied().unwrap_or_default();
    match entry.run(container, false) {
        Some((id, _, true)) => Ok(id),
        _ => Err((StatusCode::NOT_FOUND, format!("container not found (\"{container}\")"))),
    }
}

fn text(status: StatusCode, sentence: String) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", sentence)
}

fn json_body(json: &str) -> Response<Body> {
    respond(StatusCode::OK, "application/json", json.to_owned())
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}
