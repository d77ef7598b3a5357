//! The pods of this node, for those who answer questions about them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::sync::watch;

use super::{
    names,
    observed::{Observed, Run},
};

/// What is known about one pod.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The object, as last seen.
    pub(crate) pod: Arc<Pod>,
    observed: watch::Receiver<Observed>,
}

impl Entry {
    /// The id of the sandbox, if it stands.
    pub(crate) fn sandbox(&self) -> Option<String> {
        let observed = self.observed.borrow();
        observed.sandbox.as_ref().filter(|sandbox| sandbox.ready).map(|sandbox| sandbox.id.clone())
    }

    /// The newest run of a container, or the one before it: id, attempt, and whether it runs.
    pub(crate) fn run(&self, container: &str, previous: bool) -> Option<(String, u32, bool)> {
        let observed = self.observed.borrow();
        let run = if previous { observed.previous(container) } else { observed.current(container) };
        run.map(|run| (run.id.clone(), run.attempt, run.is_running()))
    }
}

/// All pods by namespace and name. The newest of several with the same name counts.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<BTreeMap<(String, String), Entry>>);

impl Registry {
    /// The pod of this namespace and name.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Entry> {
        self.lock().get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Every pod.
    pub(crate) fn all(&self) -> Vec<Arc<Pod>> {
        self.lock().values().map(|entry| entry.pod.clone()).collect()
    }

    /// Every running container, with its pod and its run.
    pub(super) fn running(&self) -> Vec<(Arc<Pod>, String, Run)> {
        let entries = self.lock();
        let of_one = |entry: &Entry| {
            let observed = entry.observed.borrow();
            let runs =
                observed.running().map(|(name, run)| (entry.pod.clone(), name.to_owned(), run.clone()));
            runs.collect::<Vec<_>>()
        };
        entries.values().flat_map(of_one).collect()
    }

    pub(super) fn put(&self, pod: &Arc<Pod>, observed: watch::Receiver<Observed>) {
        self.lock().insert(key(pod), Entry { pod: pod.clone(), observed });
    }

    /// Takes a newer version of a pod.
    pub(super) fn update(&self, pod: &Arc<Pod>) {
        if let Some(entry) = self.lock().get_mut(&key(pod))
            && names::uid(&entry.pod) == names::uid(pod)
        {
            entry.pod = pod.clone();
        }
    }

    /// Forgets a pod, unless another has taken its name.
    pub(super) fn remove(&self, pod: &Pod) {
        let mut entries = self.lock();
        if entries.get(&key(pod)).is_some_and(|entry| names::uid(&entry.pod) == names::uid(pod)) {
            entries.remove(&key(pod));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(pod: &Pod) -> (String, String) {
    (pod.namespace().unwrap_or_default(), pod.name_any())
}
