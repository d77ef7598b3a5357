//! From events to changes of the zone.

mod pods;

use std::collections::HashSet;
use std::sync::Arc;

use service::objects::{EndpointSlice, Namespace, Pod, Service};
use service::{Changed, Cluster, Event};

use crate::zone::{Change, Naming, Records, key};

use pods::Pods;

/// One event of any of the watches.
#[derive(Debug)]
pub enum Input {
    /// About Services.
    Service(Event<Service>),
    /// About EndpointSlices.
    Slice(Event<EndpointSlice>),
    /// About Namespaces.
    Namespace(Event<Namespace>),
    /// About pods.
    Pod(Event<Pod>),
}

/// What the cluster is known to hold.
#[derive(Debug, Default)]
pub(crate) struct Names {
    naming: Naming,
    pods: Pods,
    cluster: Cluster,
    changed: Changed,
    namespaces: HashSet<Arc<str>>,
    /// While namespaces are listed anew: those not named again yet.
    unnamed: Option<HashSet<Arc<str>>>,
    namespaces_listed: bool,
    synced: bool,
}

impl Names {
    /// Nothing known yet. Pods are waited for only if they count.
    pub(crate) fn new(naming: Naming, with_pods: bool) -> Self {
        Self { naming, pods: Pods::new(with_pods), ..Self::default() }
    }

    /// Takes in events; returns what they change, nothing before everything was listed once. An event costs the
    /// size of its object and of the Service that it is about; many about one Service share the latter.
    pub(crate) fn take(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<Change> {
        let mut changes = Vec::new();
        for input in inputs {
            match input {
                Input::Service(event) => self.cluster.service_event(event, &mut self.changed),
                Input::Slice(event) => self.cluster.slice_event(event, &mut self.changed),
                Input::Namespace(event) => self.namespace(event, &mut changes),
                Input::Pod(event) => self.pods.event(event, &mut changes),
            }
        }
        let known = self.cluster.synced() && self.namespaces_listed && self.pods.listed();
        if !known {
            return changes;
        }
        for name in std::mem::take(&mut self.changed) {
            changes.push(match Records::of(&self.cluster, &name, self.naming) {
                Some(records) => Change::Put(Arc::new(records)),
                None => Change::Remove(key(&name)),
            });
        }
        if !std::mem::replace(&mut self.synced, true) {
            changes.push(Change::Synced);
        }
        changes
    }

    fn namespace(&mut self, event: Event<Namespace>, changes: &mut Vec<Change>) {
        match event {
            Event::Relist => self.unnamed = Some(self.namespaces.clone()),
            Event::Apply(namespace) => {
                let name = namespace.metadata.name;
                if let Some(unnamed) = &mut self.unnamed {
                    unnamed.remove(&name);
                }
                if self.namespaces.insert(name.clone()) {
                    changes.push(Change::Namespace(name, true));
                }
            }
            Event::Delete(namespace) => self.drop_namespace(namespace.metadata.name, changes),
            Event::Synced => {
                self.namespaces_listed = true;
                for name in self.unnamed.take().unwrap_or_default() {
                    self.drop_namespace(name, changes);
                }
            }
        }
    }

    fn drop_namespace(&mut self, name: Arc<str>, changes: &mut Vec<Change>) {
        if self.namespaces.remove(&name) {
            changes.push(Change::Namespace(name, false));
        }
    }
}
