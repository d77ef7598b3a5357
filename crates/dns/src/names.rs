//! From events about objects to changes of the table of names.

mod pods;
mod services;

use std::collections::HashSet;
use std::sync::Arc;

use service::objects::{EndpointSlice, Namespace, Pod, Service};
use service::{Event, Listing};

use crate::zone::{Change, RecordOptions};

use pods::Pods;
use services::Services;

/// An event of one of the watches.
#[derive(Debug)]
pub enum Input {
    /// An event about a Service.
    Service(Event<Service>),
    /// An event about an EndpointSlice.
    Slice(Event<EndpointSlice>),
    /// An event about a Namespace.
    Namespace(Event<Namespace>),
    /// An event about a pod.
    Pod(Event<Pod>),
}

/// The objects of a cluster, as far as names depend on them.
#[derive(Debug)]
pub(crate) struct Names {
    options: RecordOptions,
    services: Services,
    pods: Pods,
    namespaces: HashSet<Arc<str>>,
    namespaces_listed: Listing<Arc<str>>,
    synced: bool,
}

impl Names {
    /// No objects yet. Without `with_pods` there will be no events about pods, and none are waited for.
    pub(crate) fn new(options: RecordOptions, with_pods: bool) -> Self {
        Self {
            options,
            services: Services::new(),
            pods: Pods::new(with_pods),
            namespaces: HashSet::new(),
            namespaces_listed: Listing::default(),
            synced: false,
        }
    }

    /// Takes events and returns the changes of the table. Before the first lists of all kinds are complete, Services
    /// are only collected. An event costs as much as its object and the Service that it is about are large; several
    /// events about one Service share the latter cost.
    pub(crate) fn take(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<Change> {
        let mut changes = Vec::new();
        for input in inputs {
            match input {
                Input::Service(event) => self.services.service(event),
                Input::Slice(event) => self.services.slice(event),
                Input::Namespace(event) => self.namespace(event, &mut changes),
                Input::Pod(event) => self.pods.event(event, &mut changes),
            }
        }
        if !(self.services.listed() && self.namespaces_listed.complete() && self.pods.listed()) {
            return changes;
        }
        changes.extend(self.services.changes(self.options));
        if !std::mem::replace(&mut self.synced, true) {
            changes.push(Change::Synced);
        }
        changes
    }

    fn namespace(&mut self, event: Event<Namespace>, changes: &mut Vec<Change>) {
        match event {
            Event::Relist => self.namespaces_listed.start(self.namespaces.iter().cloned()),
            Event::Apply(namespace) => {
                let name = namespace.metadata.name;
                self.namespaces_listed.seen(&name);
                if self.namespaces.insert(name.clone()) {
                    changes.push(Change::Namespace(name, true));
                }
            }
            Event::Delete(namespace) => self.drop_namespace(namespace.metadata.name, changes),
            Event::Synced => {
                for name in self.namespaces_listed.finish() {
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
