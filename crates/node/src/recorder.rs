//! Kubernetes Events about pods and the node: what happened, in sentences, for `kubectl describe`.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::mpsc;

/// The component that Events name as their source.
const COMPONENT: &str = "kubelet";
/// Events that wait for the API server; more are dropped, as pods matter more than their story.
const QUEUE: usize = 256;
/// Events whose repetitions are counted.
const REMEMBERED: usize = 1024;

/// Whether an Event is news or trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// `type: Normal`.
    Normal,
    /// `type: Warning`.
    Warning,
}

/// Writes Events. Never waits and never fails: what cannot be written is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    queue: mpsc::Sender<Happening>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Happening {
    namespace: String,
    object: Object,
    kind: Kind,
    reason: &'static str,
    message: String,
}

/// The object an Event is about, in a form that can be compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Object {
    kind: String,
    name: String,
    uid: String,
    field_path: Option<String>,
}

impl Recorder {
    /// A recorder for node `node`, and the task that writes.
    pub(crate) fn new(client: Client, node: String) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, happenings) = mpsc::channel(QUEUE);
        (Self { queue }, write(client, node, happenings))
    }

    /// Records something about `object`, whose namespace the Event shares.
    pub(crate) fn record(&self, object: &ObjectReference, kind: Kind, reason: &'static str, message: String) {
        let about = Object {
            kind: object.kind.clone().unwrap_or_default(),
            name: object.name.clone().unwrap_or_default(),
            uid: object.uid.clone().unwrap_or_default(),
            field_path: object.field_path.clone(),
        };
        let namespace = object.namespace.clone().unwrap_or_else(|| "default".into());
        let happening = Happening { namespace, object: about, kind, reason, message };
        if self.queue.try_send(happening).is_err() {
            tracing::debug!(reason, "an Event was dropped, as too many wait");
        }
    }
}

async fn write(client: Client, node: String, mut happenings: mpsc::Receiver<Happening>) {
    let mut written: HashMap<Happening, (String, i32)> = HashMap::new();
    while let Some(happening) = happenings.recv().await {
        let events = Api::<Event>::namespaced(client.clone(), &happening.namespace);
        let now = Timestamp::now();
        if let Some((name, count)) = written.get_mut(&happening) {
            *count += 1;
            let again = json!({"count": *count, "lastTimestamp": Time(now)});
            if events.patch(name, &PatchParams::default(), &Patch::Merge(again)).await.is_ok() {
                continue;
            }
        }
        let event = event(&happening, &node, now);
        let name = event.metadata.name.clone().unwrap_or_default();
        match events.create(&PostParams::default(), &event).await {
            Ok(_) => {
                if written.len() >= REMEMBERED {
                    written.clear();
                }
                written.insert(happening, (name, 1));
            }
            Err(error) => tracing::debug!(reason = happening.reason, "an Event was not written: {error}"),
        }
    }
}

fn event(happening: &Happening, node: &str, now: Timestamp) -> Event {
    let object = &happening.object;
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:x}", object.name, now.as_nanosecond())),
            namespace: Some(happening.namespace.clone()),
            ..Default::default()
        },
        involved_object: ObjectReference {
            api_version: Some("v1".into()),
            kind: Some(object.kind.clone()),
            namespace: (object.kind != "Node").then(|| happening.namespace.clone()),
            name: Some(object.name.clone()),
            uid: Some(object.uid.clone()),
            field_path: object.field_path.clone(),
            ..Default::default()
        },
        type_: Some(if happening.kind == Kind::Normal { "Normal" } else { "Warning" }.into()),
        reason: Some(happening.reason.into()),
        message: Some(happening.message.clone()),
        source: Some(EventSource { component: Some(COMPONENT.into()), host: Some(node.into()) }),
        reporting_component: Some(COMPONENT.into()),
        reporting_instance: Some(node.into()),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..Default::default()
    }
}
