//! Telling authors of objects what cannot be meant, as Events on the object.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use follow::{EventType, Recorder};
use service::objects::{Metadata, Object};

/// Tells authors of objects by Events. Rules never wait for them.
#[derive(Debug, Clone)]
pub(super) struct Reporter {
    recorder: Recorder,
    /// The problems of each object that were told, as a hash, so that they are told once.
    said: Arc<Mutex<HashMap<ObjectName, u64>>>,
}

/// Kind, namespace and name.
type ObjectName = (&'static str, Arc<str>, Arc<str>);

impl Reporter {
    /// Starts the task that writes Events.
    pub(super) fn start(client: kube::Client, node: &str) -> Self {
        let (recorder, write) = Recorder::new(client, "kube-proxy", Some(node));
        tokio::spawn(write);
        Self { recorder, said: Arc::default() }
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
    pub(super) fn event<T: Object>(&self, object: &Metadata, reason: &str, message: String) {
        self.recorder.record(follow::reference::<T>(object), EventType::Warning, reason, message);
    }
}
