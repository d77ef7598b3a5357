//! Events that tell a user what a controller has done.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::mpsc;

/// Events that wait to be written; beyond that they are dropped, since they must not hold up work.
const BACKLOG: usize = 1024;

/// Whether an event tells of something expected.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Severity {
    Normal,
    Warning,
}

/// Writes events in the background.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    events: mpsc::Sender<Arc<Event>>,
}

impl Recorder {
    /// A recorder, and the task that writes what it records.
    pub(crate) fn new(client: Client) -> (Self, impl Future<Output = ()>) {
        let (events, mut waiting) = mpsc::channel::<Arc<Event>>(BACKLOG);
        let write = async move {
            while let Some(event) = waiting.recv().await {
                let namespace = event.metadata.namespace.as_deref().unwrap_or("default");
                let api: Api<Event> = Api::namespaced(client.clone(), namespace);
                if let Err(error) = api.create(&PostParams::default(), &event).await {
                    tracing::debug!(%error, "an event could not be written");
                }
            }
        };
        (Self { events }, write)
    }

    /// Records an event about an object.
    pub(crate) fn record<K>(
        &self,
        component: &str,
        object: &K,
        severity: Severity,
        reason: &str,
        note: String,
    ) where
        K: Resource<DynamicType = ()>,
    {
        let namespace = object.namespace().unwrap_or_else(|| "default".to_owned());
        let now = Timestamp::now();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{:x}", object.name_any(), now.as_nanosecond())),
                namespace: Some(namespace),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(K::api_version(&()).into_owned()),
                kind: Some(K::kind(&()).into_owned()),
                name: object.meta().name.clone(),
                namespace: object.namespace(),
                uid: object.uid(),
                resource_version: object.resource_version(),
                ..ObjectReference::default()
            },
            reason: Some(reason.to_owned()),
            message: Some(note),
            type_: Some(format!("{severity:?}")),
            source: Some(EventSource { component: Some(component.to_owned()), host: None }),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            ..Event::default()
        };
        if self.events.try_send(Arc::new(event)).is_err() {
            tracing::debug!(reason, "too many events wait to be written; one was dropped");
        }
    }
}
