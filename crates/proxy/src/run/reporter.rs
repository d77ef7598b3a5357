//! Telling authors of objects what cannot be meant, as Events on the object.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use service::objects::{Metadata, Object};
use tokio::sync::mpsc;

/// How many Events may wait for the API server; more are logged only.
const WAITING: usize = 256;
/// An Event's message may have this many bytes.
const LONGEST_MESSAGE: usize = 1024;

/// Sends Events from a task of its own: rules never wait for them.
#[derive(Debug, Clone)]
pub(super) struct Reporter {
    events: mpsc::Sender<Event>,
    node: Arc<str>,
    /// What was said about each object, so that it is said once.
    said: Arc<Mutex<HashMap<ObjectName, u64>>>,
}

/// Kind, namespace and name.
type ObjectName = (&'static str, Arc<str>, Arc<str>);

impl Reporter {
    /// Starts the task.
    pub(super) fn start(client: kube::Client, node: &str) -> Self {
        let (events, mut waiting) = mpsc::channel::<Event>(WAITING);
        tokio::spawn(async move {
            while let Some(event) = waiting.recv().await {
                let namespace = event.metadata.namespace.clone().unwrap_or_default();
                let api = Api::<Event>::namespaced(client.clone(), &namespace);
                if let Err(error) = api.create(&PostParams::default(), &event).await {
                    tracing::debug!(%error, reason = event.reason, "an Event was not taken");
                }
            }
        });
        Self { events, node: node.into(), said: Arc::default() }
    }

    /// Tells what an object says that cannot be meant, once; returns how many new problems there are.
    pub(super) fn report<'a, T: Object>(
        &self,
        object: &Metadata,
        problems: impl Iterator<Item = &'a str>,
    ) -> usize {
        let problems: Vec<_> = problems.collect();
        let name = (T::KIND, object.namespace.clone(), object.name.clone());
        let mut said = self.said.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if problems.is_empty() {
            said.remove(&name);
            return 0;
        }
        let mut hasher = DefaultHasher::new();
        problems.hash(&mut hasher);
        if said.insert(name, hasher.finish()) == Some(hasher.finish()) {
            return 0;
        }
        drop(said);
        let note = problems.join("; ");
        tracing::warn!(kind = T::KIND, namespace = %object.namespace, name = %object.name, note, "part of an object is ignored");
        self.event::<T>(object, "InvalidField", note);
        problems.len()
    }

    /// Puts a warning on an object.
    pub(super) fn event<T: Object>(&self, object: &Metadata, reason: &str, mut message: String) {
        let mut end = message.len().min(LONGEST_MESSAGE);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        let api_version =
            if T::GROUP.is_empty() { T::VERSION.to_owned() } else { format!("{}/{}", T::GROUP, T::VERSION) };
        let now = Timestamp::now();
        let event = Event {
            metadata: ObjectMeta {
                // As client-go names them: the object and the time.
                name: Some(format!("{}.{:x}", object.name, now.as_nanosecond())),
                namespace: Some(object.namespace.to_string()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                kind: Some(T::KIND.to_owned()),
                api_version: Some(api_version),
                namespace: Some(object.namespace.to_string()),
                name: Some(object.name.to_string()),
                uid: object.uid.as_deref().map(str::to_owned),
                ..ObjectReference::default()
            },
            type_: Some("Warning".to_owned()),
            reason: Some(reason.to_owned()),
            message: Some(message),
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            source: Some(EventSource {
                component: Some("kube-proxy".to_owned()),
                host: Some(self.node.to_string()),
            }),
            reporting_component: Some("kube-proxy".to_owned()),
            reporting_instance: Some(self.node.to_string()),
            ..Event::default()
        };
        // When too many wait, the log has them all.
        let _ = self.events.try_send(event);
    }
}
