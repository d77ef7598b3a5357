//! A Kubernetes API in memory, as small as the node agent needs: objects as JSON by path, merge patches,
//! watches, graceful deletion of pods. It validates nothing.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::broadcast};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The objects, and who watches them.
pub(crate) struct Api {
    state: Mutex<State>,
    news: broadcast::Sender<()>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    /// Every change, with the path of its object; the resource version is the number of changes.
    history: Vec<(String, Value)>,
}

impl Api {
    /// Serves on a free port of the loopback interface until the runtime ends.
    pub(crate) async fn start() -> (Arc<Self>, kube::Client) {
        let api = Arc::new(Self { state: Mutex::default(), news: broadcast::Sender::new(4096) });
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let server = api.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let api = server.clone();
                let service = service_fn(move |request| {
                    let api = api.clone();
                    async move { Ok::<_, Infallible>(api.answer(request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        (api, kube::Client::try_from(config).unwrap())
    }

    /// The object at a path such as `/api/v1/namespaces/default/pods/web`.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().unwrap().objects.get(path).cloned()
    }

    /// Every object below a path.
    pub(crate) fn all(&self, prefix: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        state
            .objects
            .iter()
            .filter(|(path, _)| path.starts_with(prefix))
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// Creates or replaces an object.
    pub(crate) fn put(&self, path: &str, mut object: Value) -> Value {
        let mut state = self.state.lock().unwrap();
        let version = state.history.len() + 1;
        let kind = if state.objects.contains_key(path) { "MODIFIED" } else { "ADDED" };
        let name = path.rsplit('/').next().unwrap();
        let meta = &mut object["metadata"];
        meta["name"] = json!(name);
        if let Some(namespace) = path.split("/namespaces/").nth(1) {
            meta["namespace"] = json!(namespace.split('/').next());
        }
        meta["resourceVersion"] = json!(version.to_string());
        if meta["uid"].is_null() {
            meta["uid"] = json!(format!("uid-{version}"));
        }
        if path.contains("/nodes/") && object["spec"]["podCIDR"].is_null() {
            object["spec"]["podCIDR"] = json!("10.244.9.0/24");
        }
        state.objects.insert(path.to_owned(), object.clone());
        state.history.push((path.to_owned(), json!({"type": kind, "object": object})));
        let _ = self.news.send(());
        object
    }

    /// Deletes as `kubectl delete` does: a pod first gets a deletion timestamp.
    pub(crate) fn delete(&self, path: &str, grace: i64) {
        let Some(mut object) = self.get(path) else { return };
        if path.contains("/pods/") && grace > 0 {
            object["metadata"]["deletionTimestamp"] = json!(jiff::Timestamp::now());
            object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
            self.put(path, object);
            return;
        }
        let mut state = self.state.lock().unwrap();
        state.objects.remove(path);
        let version = state.history.len() + 1;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        state.history.push((path.to_owned(), json!({"type": "DELETED", "object": object})));
        let _ = self.news.send(());
    }

    /// Waits until the object at `path` is as `wanted` says; the object, or a panic with its last state.
    pub(crate) async fn wait(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..6000 {
            last = self.get(path).unwrap_or_default();
            if wanted(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{path} did not become as expected: {last:#}");
    }

    async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let method = request.method().clone();
        let bytes = request.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let target = path.strip_suffix("/status").unwrap_or(&path);
        match method {
            Method::GET if query.contains("watch=true") => self.clone().watch(&path, query),
            Method::GET => match self.get(target) {
                Some(object) => reply(StatusCode::OK, &object),
                None if is_collection(target) => {
                    let list = self.all(&format!("{}/", everywhere(target)));
                    let list: Vec<Value> =
                        list.into_iter().filter(|object| selected(object, &query)).collect();
                    let version = self.state.lock().unwrap().history.len().to_string();
                    reply(StatusCode::OK, &json!({"metadata": {"resourceVersion": version}, "items": list}))
                }
                None => error(404),
            },
            Method::POST if path.ends_with("/token") => {
                let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
                let token = format!("token for {}", body["spec"]["audiences"]);
                let status = json!({"token": token, "expirationTimestamp": end});
                reply(StatusCode::CREATED, &json!({"spec": body["spec"], "status": status}))
            }
            // Everybody may list pods of nodes, and nothing else.
            Method::POST if target.ends_with("/subjectaccessreviews") => {
                let mut review = body;
                let subresource = &review["spec"]["resourceAttributes"]["subresource"];
                review["status"] = json!({"allowed": subresource == "pods"});
                reply(StatusCode::CREATED, &review)
            }
            Method::POST => {
                let target = format!("{target}/{}", body["metadata"]["name"].as_str().unwrap_or_default());
                match self.get(&target) {
                    Some(_) => error(409),
                    None => reply(StatusCode::CREATED, &self.put(&target, body)),
                }
            }
            Method::PATCH => match self.get(target) {
                Some(mut object) => {
                    merge(&mut object, &body);
                    reply(StatusCode::OK, &self.put(target, object))
                }
                None => error(404),
            },
            Method::DELETE => {
                self.delete(target, body["gracePeriodSeconds"].as_i64().unwrap_or(30));
                reply(StatusCode::OK, &json!({"kind": "Status", "status": "Success"}))
            }
            _ => error(405),
        }
    }

    fn watch(self: Arc<Self>, path: &str, query: String) -> Response<Body> {
        let prefix = format!("{}/", everywhere(path));
        let from =
            query.split("resourceVersion=").nth(1).and_then(|rest| rest.split('&').next()?.parse().ok());
        let seen: usize = from.unwrap_or(0);
        let news = self.news.subscribe();
        let events = stream::unfold((self, news, seen), move |(api, mut news, mut seen)| {
            let (prefix, query) = (prefix.clone(), query.clone());
            async move {
                loop {
                    let next = api.state.lock().unwrap().history.get(seen).cloned();
                    let Some((path, event)) = next else {
                        let _ = news.recv().await;
                        continue;
                    };
                    seen += 1;
                    if path.starts_with(&prefix) && selected(&event["object"], &query) {
                        let frame = Frame::data(Bytes::from(format!("{event}\n")));
                        return Some((Ok(frame), (api, news, seen)));
                    }
                }
            }
        });
        Response::new(StreamBody::new(events).boxed_unsync())
    }
}

/// Whether a path names a collection: `…/pods`, unlike `…/pods/web`.
fn is_collection(path: &str) -> bool {
    let parts = path.trim_matches('/').split('/').skip(if path.starts_with("/apis/") { 3 } else { 2 });
    parts.count() % 2 == 1
}

/// A collection over all namespaces holds those of every namespace; here paths are compared by their end.
fn everywhere(path: &str) -> String {
    match path {
        "/api/v1/pods" => "/api/v1/namespaces/default/pods".into(),
        path => path.into(),
    }
}

/// The one field selector that pods are watched with; nodes are watched by name.
fn selected(object: &Value, query: &str) -> bool {
    let query = query.replace("%3D", "=");
    let field = |name: &str| query.split(name).nth(1).map(|rest| rest.split('&').next().unwrap().to_owned());
    let equal = |wanted: Option<String>, value: &Value| wanted.is_none_or(|wanted| value == wanted.as_str());
    equal(field("spec.nodeName="), &object["spec"]["nodeName"])
        && equal(field("metadata.name="), &object["metadata"]["name"])
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

fn error(code: u16) -> Response<Body> {
    let reason = match code {
        404 => "NotFound",
        409 => "AlreadyExists",
        _ => "MethodNotAllowed",
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": reason, "reason": reason, "code": code});
    reply(StatusCode::from_u16(code).unwrap(), &status)
}

fn reply(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())).boxed_unsync());
    *response.status_mut() = status;
    response
}
