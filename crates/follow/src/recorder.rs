//! Kubernetes Events about objects: what happened, in sentences, for `kubectl describe`.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use service::objects::{Metadata, Object};
use tokio::sync::mpsc;

use crate::watch::api_version;

/// How many Events may wait for the API server; more are dropped.
const WAITING: usize = 1024;
/// How many Events are remembered so that their repetitions are counted, and not written again.
const REMEMBERED: usize = 1024;
/// The API server takes messages of this many bytes (`NoteLengthLimit`).
const LONGEST_MESSAGE: usize = 1024;
/// The API server takes names of this many bytes (RFC 1123, DNS subdomain).
const LONGEST_NAME: usize = 253;

/// The `type` of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Something expected has happened.
    Normal,
    /// Something may need attention.
    Warning,
}

/// Writes Events in the background. Recording never waits and never fails.
///
/// An Event that was recorded before, with the same words about the same object, is written once and counted.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: mpsc::Sender<Recorded>,
    component: Arc<str>,
    host: Option<Arc<str>>,
}

/// An Event on its way to the API server. Two that are equal are one Event that happened twice.
#[derive(Clone, Debug, PartialEq)]
struct Recorded {
    about: ObjectReference,
    type_: EventType,
    reason: String,
    message: String,
    component: Arc<str>,
    host: Option<Arc<str>>,
}

impl Recorder {
    /// A recorder for `component`, such as `kubelet`, and the task that writes.
    ///
    /// `host` is the node that the component runs on, if it belongs to a node.
    pub fn new(
        client: Client,
        component: &str,
        host: Option<&str>,
    ) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let (queue, recorded) = mpsc::channel(WAITING);
        let recorder = Self { queue, component: component.into(), host: host.map(Into::into) };
        (recorder, write(client, recorded))
    }

    /// The same recorder for another component of this program.
    #[must_use]
    pub fn component(&self, component: &str) -> Self {
        Self { component: component.into(), ..self.clone() }
    }

    /// Records an Event about an object. It is written in the object's namespace, or in `default` for an object that has
    /// none. A message of more than 1024 bytes is cut.
    pub fn record(&self, about: ObjectReference, type_: EventType, reason: &str, mut message: String) {
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
        let recorded = Recorded {
            about,
            type_,
            reason: reason.to_owned(),
            message,
            component: self.component.clone(),
            host: self.host.clone(),
        };
        if self.queue.try_send(recorded).is_err() {
            tracing::debug!(reason, "an Event was dropped, as too many wait to be written");
        }
    }
}

/// How an Event refers to an object of which the slim form is known.
pub fn reference<T: Object>(metadata: &Metadata) -> ObjectReference {
    let namespace = Some(metadata.namespace.to_string()).filter(|namespace| !namespace.is_empty());
    ObjectReference {
        api_version: Some(api_version::<T>()),
        kind: Some(T::KIND.to_owned()),
        namespace,
        name: Some(metadata.name.to_string()),
        uid: metadata.uid.as_deref().map(str::to_owned),
        ..ObjectReference::default()
    }
}

/// An Event that was written.
struct Written {
    recorded: Recorded,
    name: String,
    count: i32,
}

async fn write(client: Client, mut queue: mpsc::Receiver<Recorded>) {
    // By the words, which are compared in full after that.
    let mut written: HashMap<(String, String), Vec<Written>> = HashMap::new();
    let mut remembered = 0;
    while let Some(mut recorded) = queue.recv().await {
        // A newer version of the object is the same object.
        let resource_version = recorded.about.resource_version.take();
        let namespace = recorded.about.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let events = Api::<Event>::namespaced(client.clone(), &namespace);
        let now = Timestamp::now();
        let key = (recorded.about.uid.clone().unwrap_or_default(), recorded.message.clone());
        let before = written.get_mut(&key);
        if let Some(before) = before.into_iter().flatten().find(|before| before.recorded == recorded) {
            before.count = before.count.saturating_add(1);
            let again = json!({ "count": before.count, "lastTimestamp": Time(now) });
            if events.patch(&before.name, &PatchParams::default(), &Patch::Merge(again)).await.is_ok() {
                continue;
            }
        }
        let mut event = event(&recorded, &namespace, now);
        event.involved_object.resource_version = resource_version;
        match events.create(&PostParams::default(), &event).await {
            Ok(_) => {
                if remembered >= REMEMBERED {
                    (remembered, written) = (0, HashMap::new());
                }
                let name = event.metadata.name.unwrap_or_default();
                let same = written.entry(key).or_default();
                same.retain(|before| before.recorded != recorded);
                same.push(Written { recorded, name, count: 1 });
                remembered += 1;
            }
            Err(error) => {
                tracing::debug!(%error, reason = recorded.reason, "an Event was not written");
            }
        }
    }
}

fn event(recorded: &Recorded, namespace: &str, now: Timestamp) -> Event {
    let component = recorded.component.to_string();
    let host = recorded.host.as_deref().map(str::to_owned);
    Event {
        metadata: ObjectMeta {
            name: Some(name(recorded.about.name.as_deref().unwrap_or_default(), now)),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: recorded.about.clone(),
        type_: Some(format!("{:?}", recorded.type_)),
        reason: Some(recorded.reason.clone()),
        message: Some(recorded.message.clone()),
        source: Some(EventSource { component: Some(component.clone()), host: host.clone() }),
        reporting_component: Some(component),
        reporting_instance: host,
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..Event::default()
    }
}

/// The name of an Event as client-go makes it: the object and the time. A long name of an object is cut.
fn name(object: &str, now: Timestamp) -> String {
    let time = format!("{:x}", now.as_nanosecond());
    let room = LONGEST_NAME - time.len() - 1;
    let object = object[..object.floor_char_boundary(room)].trim_end_matches(['.', '-']);
    format!("{object}.{time}")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::Value;

    use super::*;

    type Requests = Arc<Mutex<Vec<(Method, Value)>>>;

    /// A client for an API server that takes every Event, and the requests to it.
    fn server() -> (Client, Requests) {
        let requests = Requests::default();
        let log = requests.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let log = log.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap();
                let sent: Value = serde_json::from_slice(&body).unwrap();
                log.lock().unwrap().push((head.method, sent));
                let stored = r#"{"metadata":{"name":"e"},"involvedObject":{}}"#;
                Ok::<_, std::convert::Infallible>(Response::new(Body::from(stored.as_bytes().to_vec())))
            }
        });
        (Client::new(service, "default"), requests)
    }

    fn pod(version: &str) -> ObjectReference {
        ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: Some("web".to_owned()),
            name: Some("a".to_owned()),
            uid: Some("1".to_owned()),
            resource_version: Some(version.to_owned()),
            ..ObjectReference::default()
        }
    }

    #[tokio::test]
    async fn what_happens_again_is_counted_and_what_differs_is_written() {
        let (client, requests) = server();
        let (recorder, write) = Recorder::new(client, "kubelet", Some("node1"));
        let fail = |recorder: &Recorder, version, reason| {
            recorder.record(pod(version), EventType::Warning, reason, "it failed".to_owned());
        };
        fail(&recorder, "1", "Failed");
        fail(&recorder, "2", "Failed");
        fail(&recorder, "2", "FailedMount");
        fail(&recorder.component("scheduler"), "2", "Failed");
        fail(&recorder, "3", "Failed");
        drop(recorder);
        write.await;
        let requests = requests.lock().unwrap();
        let kinds: Vec<_> = requests
            .iter()
            .map(|(method, sent)| (method.as_str(), sent["count"].as_i64().unwrap()))
            .collect();
        assert_eq!(kinds, [("POST", 1), ("PATCH", 2), ("POST", 1), ("POST", 1), ("PATCH", 3)]);
        let first = &requests[0].1;
        assert_eq!(first["source"], json!({"component": "kubelet", "host": "node1"}));
        assert_eq!(
            (&first["involvedObject"]["resourceVersion"], &first["type"]),
            (&json!("1"), &json!("Warning"))
        );
    }

    #[test]
    fn the_name_of_an_event_is_valid_however_long_that_of_its_object_is() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        assert_eq!(name("web", now), "web.17979cfe362a0000");
        let long = name(&format!("{}-.{}", "a".repeat(234), "b".repeat(17)), now);
        assert!(long.len() <= LONGEST_NAME && long.contains("aa."), "{long}");
    }

    #[tokio::test]
    async fn a_long_message_is_cut_between_characters() {
        let (client, requests) = server();
        let (recorder, write) = Recorder::new(client, "c", None);
        recorder.record(pod("1"), EventType::Normal, "Long", "ä".repeat(1000));
        drop(recorder);
        write.await;
        assert_eq!(requests.lock().unwrap()[0].1["message"].as_str().unwrap().len(), LONGEST_MESSAGE);
    }
}
