//! From a request to the one function that answers it.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use api::codec::Media;
use api::schema::{Kind, Schema};
use api::status::{Reason, Status};
use api::{discovery, openapi};
use bytes::Bytes;
use futures::FutureExt;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use http::{Method, Request, Response, StatusCode, request};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::accept::{self, View};
use super::connections::Connection;
use super::health;
use super::impersonation;
use super::limits::{Hold, Peer};
use super::objects::{Answer, Call};
use super::path::{self, ResourcePath};
use super::query::Query;
use super::respond::{self, Body, Weight};
use crate::Shared;
use crate::authorization::{self, Attributes, ResourceAttributes};
use crate::identity::User;
use crate::memory;
use crate::registry::Part;
use crate::workshop::{LONG, panicked};

/// The largest body that a request may have, in bytes (upstream's limit).
const MAX_BODY: usize = 3 * 1024 * 1024;
/// A larger body is still read up to here, in bytes, so that its sender gets to read the answer.
const MAX_DISCARDED: usize = 16 * MAX_BODY;

/// A body has this long to arrive (upstream's limit for requests that do not stream).
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two pieces of a body at most so much time passes.
const BODY_PAUSE: Duration = Duration::from_secs(20);
/// Answers from this size on count as held until they were sent, in bytes.
const COUNTED: usize = 4096;
/// A decoded object takes about so many times the memory of its text.
const VALUES: usize = 8;

/// The encoding in which kubectl asks for the older OpenAPI.
const OPENAPI_V2_ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
/// The same as it is answered: the name that is asked for is no valid media type.
const OPENAPI_V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Who sends requests.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// Who that is, if it has proven it.
    pub(crate) user: Option<User>,
    /// What it may hold, and its connection; none for parts of this program.
    pub(crate) place: Option<(Peer, Arc<Connection>)>,
}

impl Client {
    /// A part of this program.
    pub(crate) fn in_process(user: User) -> Self {
        Self { user: Some(user), place: None }
    }

    fn peer(&self) -> Option<&Peer> {
        self.place.as_ref().map(|(peer, _)| peer)
    }
}

/// Answers one request. Whatever goes wrong is answered with a Status.
pub(crate) async fn handle<B>(shared: &Arc<Shared>, request: Request<B>, client: &Client) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Some((peer, connection)) = &client.place else { return answered(shared, request, client).await };
    let busy = connection.busy();
    let request_held = match peer.request() {
        Ok(held) => held,
        Err(status) => return respond::status(&status),
    };
    let mut response = answered(shared, request, client).await;
    let own =
        response.body().size_hint().exact().map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let weight = response.extensions_mut().remove::<Weight>().map_or(own, |Weight(bytes)| bytes);
    let mut holds = vec![request_held];
    if weight >= COUNTED {
        match peer.answer(weight).await {
            Ok(held) => holds.push(held),
            Err(status) => response = respond::status(&status),
        }
    }
    response.map(|body| shared.unread.watched(body, holds, busy))
}

async fn answered<B>(shared: &Arc<Shared>, request: Request<B>, client: &Client) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (parts, body) = request.into_parts();
    if let Some(response) = public(shared, &parts) {
        return response;
    }
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let answer = AssertUnwindSafe(answer(shared, parts, body, client)).catch_unwind().await;
    let answer = answer.unwrap_or_else(|panic| Err(Status::internal(panicked(panic.as_ref()))));
    answer.unwrap_or_else(|status| {
        if status.code >= 500 && status.reason != Reason::Timeout {
            tracing::warn!(%method, path, %status, "request failed");
        }
        respond::status(&status)
    })
}

/// What a request asks for, by its path and its query.
struct Asked {
    target: Option<ResourcePath>,
    query: Query,
}

/// Who it is and whether they may comes before anything is read of the request's body.
async fn answer<B>(shared: &Arc<Shared>, mut parts: request::Parts, body: B, client: &Client) -> Answer
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let user = client.user.clone().ok_or_else(Status::unauthorized)?;
    let user = impersonation::effective(user, &parts.headers)?;
    let asked = Asked { target: path::parse(parts.uri.path()), query: Query::parse(parts.uri.query()) };
    permit(&user, &parts, &asked)?;
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    if let Some((_, connection)) = &client.place {
        parts.extensions.insert(connection.clone());
    }
    let mut held = Hold::default();
    let body = timeout(BODY_TIMEOUT, read_body(body, client.peer(), &mut held))
        .await
        .unwrap_or_else(|_| Err(Status::timeout("request did not complete within the allotted timeout")))?;
    let weight = weight(shared, &parts, &asked, body.len()).await;
    let changes = parts.method != Method::GET;
    let owner = shared.clone();
    let work = async move {
        let answer = route(&owner, &parts, asked, body, upgrade, &user).await;
        drop(held);
        answer
    };
    match (changes, weight >= LONG) {
        (false, _) => work.await,
        (true, false) => to_completion(work).await,
        (true, true) => at_length(shared, work, client.peer(), weight).await,
    }
}

/// How many bytes a request works on: those of its body, and of the object that it changes. Whatever its length, a body
/// in YAML counts as long: it is slow to read, and its aliases make more of it.
async fn weight(shared: &Shared, parts: &request::Parts, asked: &Asked, body: usize) -> usize {
    let changed = match &asked.target {
        Some(ResourcePath { group, version, namespace, resource, name: Some(name), .. })
            if parts.method != Method::GET =>
        {
            let kind = shared.registry.schema.resource(group, version, resource).filter(|kind| kind.stored);
            match kind {
                Some(kind) => shared.registry.record(kind, namespace.as_deref(), name).await.ok(),
                None => None,
            }
        }
        _ => None,
    };
    let media = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let least = if media.and_then(Media::parse) == Some(Media::Yaml) { LONG } else { 0 };
    least.max(body + changed.map_or(0, |record| record.value.len()))
}

/// Answers a request; one that changes something is carried out to its end even when its client goes
/// away meanwhile. Half of it would be worse than nothing: an address that is given back while the
/// Service with it is being written would be given to another.
async fn to_completion(work: impl Future<Output = Answer> + Send + 'static) -> Answer {
    tokio::spawn(work).await.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => Err(Status::internal(panicked(panic.as_ref()))),
        Err(error) => Err(Status::internal(error)),
    })
}

/// The same for a request that takes long: away from the threads that answer.
async fn at_length(
    shared: &Shared,
    work: impl Future<Output = Answer> + Send + 'static,
    peer: Option<&Peer>,
    weight: usize,
) -> Answer {
    let held = peer.map(Peer::long).transpose()?;
    let runtime = tokio::runtime::Handle::current();
    let work = move || {
        let answer = runtime.block_on(work);
        memory::released(weight.saturating_mul(VALUES));
        drop(held);
        answer
    };
    let workshop = &shared.registry.workshop;
    if peer.is_some() { workshop.run(work).await? } else { workshop.run_own(work).await? }
}

/// Reads a body; what is kept of it counts as held by the peer.
async fn read_body<B>(body: B, peer: Option<&Peer>, held: &mut Hold) -> Result<Bytes, Status>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut body = Box::pin(body);
    let mut kept = Vec::new();
    let mut length = 0_usize;
    while let Some(frame) = timeout(BODY_PAUSE, body.frame()).await.map_err(|_| stopped())? {
        let frame = frame
            .map_err(|error| Status::bad_request(format!("the body could not be read: {}", error.into())))?;
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length <= MAX_BODY {
            if let Some(peer) = peer {
                peer.body(held, data.len())?;
            }
            kept.extend_from_slice(&data);
        } else if length > MAX_DISCARDED {
            break;
        } else {
            kept = Vec::new();
            *held = Hold::default();
        }
    }
    if length > MAX_BODY {
        return Err(Status::too_large(format!("limit is {MAX_BODY}")));
    }
    Ok(kept.into())
}

fn stopped() -> Status {
    Status::timeout("the body of the request stopped coming")
}

/// What anyone may ask: whether the server is there, and which version it is.
fn public(shared: &Shared, parts: &request::Parts) -> Option<Response<Body>> {
    match parts.uri.path().trim_end_matches('/') {
        "/version" => Some(respond::value(&crate::version())),
        path => health::answer(shared, path, parts.uri.query().unwrap_or_default()),
    }
}

async fn route(
    shared: &Arc<Shared>,
    parts: &request::Parts,
    asked: Asked,
    body: Bytes,
    upgrade: Option<OnUpgrade>,
    user: &User,
) -> Answer {
    let path = parts.uri.path();
    if let Some(target) = &asked.target {
        return resource(shared, parts, target, asked.query, body, upgrade, user).await;
    }
    if parts.method != Method::GET {
        return Err(Status::resource_not_found());
    }
    documents(shared.registry.schema, parts, path)
}

/// Discovery and OpenAPI.
fn documents(schema: &Schema, parts: &request::Parts, path: &str) -> Answer {
    let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    if words == ["openapi", "v2"] {
        return Ok(openapi_v2(parts));
    }
    let header = parts.headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let missing = Status::resource_not_found;
    let found = match words.as_slice() {
        ["api" | "apis"] => {
            let core = words == ["api"];
            let accepted =
                accept::negotiate(header, |view| matches!(view, View::Object | View::Discovery(_)))?;
            if let View::Discovery(version) = accepted.view {
                let mut document = discovery::aggregated(schema, core);
                document["apiVersion"] = format!("apidiscovery.k8s.io/{version}").into();
                return Ok(tagged(parts, aggregated(&document, version)));
            }
            Some(if core { discovery::api_versions() } else { discovery::group_list(schema) })
        }
        ["api", version] => discovery::resource_list(schema, "", version),
        ["apis", group] => discovery::group(schema, group),
        ["apis", group, version] => discovery::resource_list(schema, group, version),
        ["openapi", "v3"] => return Ok(respond::json(StatusCode::OK, openapi_index(schema))),
        ["openapi", "v3", "api", version] => {
            return openapi::document(schema, "", version)
                .map(|document| kept(parts, &document))
                .ok_or_else(missing);
        }
        ["openapi", "v3", "apis", group, version] => {
            return openapi::document(schema, group, version)
                .map(|document| kept(parts, &document))
                .ok_or_else(missing);
        }
        [] => Some(
            json!({ "paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"] }),
        ),
        _ => None,
    };
    found.map(|document| respond::value(&document)).ok_or_else(missing)
}

/// The index names each document with its hash, which takes a moment to compute; it never changes.
fn openapi_index(schema: &Schema) -> Bytes {
    static INDEX: OnceLock<Bytes> = OnceLock::new();
    INDEX.get_or_init(|| openapi::index(schema).to_string().into()).clone()
}

/// A document that was asked for by its hash can be kept for ever.
fn kept(parts: &request::Parts, document: &Value) -> Response<Body> {
    let mut response = respond::value(document);
    if Query::parse(parts.uri.query()).get("hash").is_some() {
        let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
        response.headers_mut().insert(CACHE_CONTROL, forever);
    }
    response
}

/// The older OpenAPI describes no kinds: clients that read the newer one ask here only for kinds
/// that they did not find there, and must not take a missing document for a broken server.
fn openapi_v2(parts: &request::Parts) -> Response<Body> {
    let asked = parts.headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if [OPENAPI_V2_ASKED, OPENAPI_V2_PROTOBUF].iter().any(|media| asked.contains(media)) {
        // Document { swagger = 1: "2.0", info = 2: Info { title = 1: "Portolan", version = 2: "v1" } }
        let document: &[u8] = b"\x0a\x032.0\x12\x0e\x0a\x08Portolan\x12\x02v1";
        return respond::with_type(StatusCode::OK, OPENAPI_V2_PROTOBUF, respond::full(document));
    }
    respond::value(&json!({
        "swagger": "2.0", "info": { "title": "Portolan", "version": "v1" }, "paths": {}, "definitions": {},
    }))
}

fn aggregated(document: &Value, version: &str) -> Response<Body> {
    let media = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    respond::with_type(StatusCode::OK, &media, respond::full(document.to_string()))
}

/// Discovery changes with the program only: clients keep what they have. An answer that says so has
/// no type of its own, since caches would take it over (RFC 9111, section 3.2).
fn tagged(parts: &request::Parts, mut response: Response<Body>) -> Response<Body> {
    let tag = concat!("\"portolan-", env!("CARGO_PKG_VERSION"), "\"");
    if parts.headers.get(IF_NONE_MATCH).is_some_and(|known| known == tag) {
        response = Response::new(respond::full(Bytes::new()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    response.headers_mut().insert(ETAG, HeaderValue::from_static(tag));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

async fn resource(
    shared: &Arc<Shared>,
    parts: &request::Parts,
    path: &ResourcePath,
    query: Query,
    body: Bytes,
    upgrade: Option<OnUpgrade>,
    user: &User,
) -> Answer {
    let registry = &shared.registry;
    let kind = registry
        .schema
        .resource(&path.group, &path.version, &path.resource)
        .filter(|kind| path.namespace.is_none() || kind.namespaced)
        .ok_or_else(Status::resource_not_found)?;
    let call = Call { registry, kind, path, parts, query, body };
    if !kind.stored {
        return call.review(user);
    }
    let answer = object(shared, &call, kind, path, upgrade).await?;
    let deprecation = api::warnings::deprecation(kind).map(str::to_owned);
    Ok(respond::with_warnings(answer, deprecation.as_slice()))
}

async fn object(
    shared: &Arc<Shared>,
    call: &Call<'_>,
    kind: &Kind,
    path: &ResourcePath,
    upgrade: Option<OnUpgrade>,
) -> Answer {
    let Some(name) = path.name.as_deref() else { return Box::pin(call.collection()).await };
    if kind.namespaced && path.namespace.is_none() {
        return Err(Status::resource_not_found());
    }
    match path.subresource.as_deref() {
        None => Box::pin(call.object(name)).await,
        Some("status") if kind.status => Box::pin(call.part(name, Part::Status)).await,
        Some("scale") if kind.scale => Box::pin(call.scale(name)).await,
        Some("finalize") if kind.is("", "Namespace") => Box::pin(call.part(name, Part::Finalize)).await,
        Some(part) if kind.is("", "Pod") => match part {
            "binding" if call.parts.method == Method::POST => call.bind(name).await,
            "eviction" if call.parts.method == Method::POST => Box::pin(call.evict(name)).await,
            "log" | "exec" | "attach" | "portforward" => {
                Box::pin(call.connect(name, part, shared.nodes.as_ref(), upgrade)).await
            }
            _ => Err(Status::resource_not_found()),
        },
        Some(_) => Err(Status::resource_not_found()),
    }
}

/// Refuses what the user may not do.
fn permit(user: &User, parts: &request::Parts, asked: &Asked) -> Result<(), Status> {
    let Some(target) = &asked.target else {
        let verb = parts.method.as_str().to_ascii_lowercase();
        let attributes = Attributes::Path { verb: &verb, path: parts.uri.path() };
        return authorization::require(user, &attributes);
    };
    fn text(field: &Option<String>) -> &str {
        field.as_deref().unwrap_or_default()
    }
    // Upstream counts a namespace as lying in itself.
    let itself = target.resource == "namespaces" && target.group.is_empty();
    let attributes = ResourceAttributes {
        verb: verb(&parts.method, target, &asked.query),
        namespace: text(if itself { &target.name } else { &target.namespace }),
        group: &target.group,
        resource: &target.resource,
        subresource: text(&target.subresource),
        name: text(&target.name),
    };
    authorization::require(user, &Attributes::Resource(attributes))
}

/// The request's verb as authorization names it.
fn verb(method: &Method, path: &ResourcePath, query: &Query) -> &'static str {
    match (method.as_str(), path.name.is_some()) {
        ("GET" | "HEAD", _) if query.flag("watch") => "watch",
        ("GET" | "HEAD", true) => "get",
        ("GET" | "HEAD", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => "",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::IpAddr;

    use futures::StreamExt;
    use http_body_util::Full;

    use super::*;
    use crate::{ApiServer, Config, DirectDial, PortRange};

    pub(crate) async fn server(folder: &std::path::Path) -> ApiServer {
        let config = Config {
            data_dir: folder.to_owned(),
            service_range: "10.96.0.0/16".parse().unwrap(),
            node_ports: "30000-32767".parse::<PortRange>().unwrap(),
            cluster_domain: "cluster.local".to_owned(),
            advertised: Vec::new(),
            addresses: vec![IpAddr::from([127, 0, 0, 1])],
        };
        ApiServer::open(config, Box::new(DirectDial)).await.unwrap()
    }

    fn service(name: &str) -> Request<Full<Bytes>> {
        let body = json!({
            "metadata": {"name": name}, "spec": {"clusterIP": "10.96.0.77", "ports": [{"port": 80}]},
        });
        Request::post("/api/v1/namespaces/default/services").body(body.to_string().into()).unwrap()
    }

    #[tokio::test]
    async fn a_write_whose_client_goes_away_is_carried_out_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let server = server(folder.path()).await;
        let user = Client::in_process(User::in_process("test"));
        let mut first = Box::pin(handle(&server.shared, service("first"), &user));
        assert!(futures::poll!(&mut first).is_pending());
        drop(first);
        let kind = server.shared.registry.schema.resource("", "v1", "services").unwrap();
        let stored = async {
            while server.shared.registry.get(kind, Some("default"), "first").await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), stored).await.unwrap();
        let second = handle(&server.shared, service("second"), &user).await;
        assert_eq!(second.status(), StatusCode::UNPROCESSABLE_ENTITY, "the address is the first one's");
    }

    #[tokio::test]
    async fn a_watch_from_a_compacted_revision_is_answered_with_one_event_that_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut shared = Arc::into_inner(server(folder.path()).await.shared).unwrap();
        let retention = store::local::Retention { revisions: 2, slack: 2, ..Default::default() };
        let store = store::local::LocalStore::open(&folder.path().join("short.redb"), retention).unwrap();
        Arc::get_mut(&mut shared.registry).unwrap().store = Arc::new(store);
        let shared = Arc::new(shared);
        let ask =
            async |request| handle(&shared, request, &Client::in_process(User::in_process("test"))).await;
        for round in 0..8 {
            let body = json!({"metadata": {"name": format!("n{round}")}}).to_string();
            let request = Request::post("/api/v1/namespaces").body(body.into()).unwrap();
            assert_eq!(ask(request).await.status(), StatusCode::CREATED);
        }
        let request = Request::get("/api/v1/namespaces?watch=true&resourceVersion=1");
        let answer = ask(request.body(Full::<Bytes>::default()).unwrap()).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let body = timeout(Duration::from_secs(10), answer.into_body().collect()).await;
        let body = body.expect("the watch ends").unwrap().to_bytes();
        let event: Value = serde_json::from_slice(&body).expect("one event");
        assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)), "{event}");
        assert_eq!(event["object"]["reason"], "Expired");
    }

    #[tokio::test]
    async fn what_is_long_is_told_by_the_body_and_by_the_object_that_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let server = server(folder.path()).await;
        let long = json!({"metadata": {"name": "long"}, "data": {"x": "y".repeat(LONG)}}).to_string();
        let maps = "/api/v1/namespaces/default/configmaps";
        let client = Client::in_process(User::in_process("test"));
        let request = Request::post(maps).body(Full::<Bytes>::from(long)).unwrap();
        assert_eq!(handle(&server.shared, request, &client).await.status(), StatusCode::CREATED);
        for (method, name, media, body, is_long) in [
            ("POST", "", "application/json", 100, false),
            ("POST", "", "application/json", LONG, true),
            ("POST", "", "application/yaml; charset=utf-8", 100, true),
            ("PATCH", "/long", "application/merge-patch+json", 2, true),
            ("PATCH", "/other", "application/merge-patch+json", 2, false),
            ("GET", "/long", "application/json", 0, false),
        ] {
            let request = Request::builder().method(method).uri(format!("{maps}{name}"));
            let (parts, ()) = request.header(CONTENT_TYPE, media).body(()).unwrap().into_parts();
            let asked = Asked { target: path::parse(parts.uri.path()), query: Query::default() };
            let weight = weight(&server.shared, &parts, &asked, body).await;
            assert_eq!(weight >= LONG, is_long, "{method} {name} {media}");
        }
    }

    #[tokio::test]
    async fn a_watch_without_end_is_begun_and_one_whose_number_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let server = server(folder.path()).await;
        for (seconds, code) in
            [("9223372036854775807", 200), ("18446744073709551615", 400), ("-1", 200), ("1e9", 400)]
        {
            let path = format!("/api/v1/namespaces?watch=true&timeoutSeconds={seconds}");
            let request = Request::get(path).body(Full::<Bytes>::default()).unwrap();
            let answer = handle(&server.shared, request, &Client::in_process(User::in_process("test"))).await;
            assert_eq!(answer.status().as_u16(), code, "{seconds}");
            if code == 200 {
                answer.into_body().frame().await.expect("an event").expect("no error");
            }
        }
    }

    #[tokio::test]
    async fn a_panic_is_answered_with_500_and_ends_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let server = server(folder.path()).await;
        let broken = futures::stream::once(async { panic!("on purpose") });
        let broken =
            http_body_util::StreamBody::new(broken.map(Ok::<hyper::body::Frame<Bytes>, std::io::Error>));
        let request = Request::post("/api/v1/namespaces").body(broken).unwrap();
        let answer = handle(&server.shared, request, &Client::in_process(User::in_process("test"))).await;
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let status: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(status["message"], "Internal error occurred: the server panicked: on purpose");
        let request = Request::get("/api/v1/namespaces").body(Full::<Bytes>::default()).unwrap();
        assert_eq!(
            handle(&server.shared, request, &Client::in_process(User::in_process("test"))).await.status(),
            200
        );
    }
}
