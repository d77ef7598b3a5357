//! Services and their EndpointSlices, as far as names depend on them.
//!
//! The shared model ([`service::Cluster`]) is not used here, as it keeps what proxies need: nodes, zones, hints,
//! weights, unready endpoints. Names need a fifth of that, and the endpoints of a slice are shared with the records
//! that are made of them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use service::objects::{EndpointSlice, Service};
use service::{Event, Listing, ServiceName};

use crate::zone::{Change, Key, Port, RecordOptions, Records, ServiceSpec, Subset, key};

/// The namespace and name of a slice.
type SliceName = (Arc<str>, Arc<str>);

/// Services and their slices.
#[derive(Debug)]
pub(super) struct Services {
    services: HashMap<Key, ServiceState>,
    /// The Service of each slice. It is kept because the label that names it may change.
    slices: HashMap<SliceName, Key>,
    services_listed: Listing<Key>,
    slices_listed: Listing<SliceName>,
    /// Lists of ports. Most Services share theirs with others.
    ports: HashSet<Arc<[Port]>>,
    namespaces: HashSet<Arc<str>>,
    /// The Services that events were about since the last call of [`Services::changes`].
    changed: BTreeSet<Key>,
}

/// A Service and its slices. Slices may come before their Service and stay after it.
#[derive(Debug, Default)]
struct ServiceState {
    spec: Option<ServiceSpec>,
    /// In the order of their names.
    slices: Box<[(Arc<str>, Arc<Subset>)]>,
}

impl Services {
    /// No Services yet.
    pub(super) fn new() -> Self {
        Self {
            services: HashMap::new(),
            slices: HashMap::new(),
            services_listed: Listing::default(),
            slices_listed: Listing::default(),
            ports: HashSet::new(),
            namespaces: HashSet::new(),
            changed: BTreeSet::new(),
        }
    }

    /// Whether the first lists of Services and slices are complete.
    pub(super) fn listed(&self) -> bool {
        self.services_listed.complete() && self.slices_listed.complete()
    }

    /// The changes of the Services that events were about since the last call.
    pub(super) fn changes(&mut self, options: RecordOptions) -> Vec<Change> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        let change = |key: Key| match self.services.get(&key) {
            Some(ServiceState { spec: Some(spec), slices }) => {
                let subsets = slices.iter().map(|(_, subset)| subset);
                Change::Put(Box::new(Records::of(key, spec, subsets, options)))
            }
            _ => Change::Remove(key),
        };
        changed.map(change).collect()
    }

    /// Takes an event about a Service.
    pub(super) fn service(&mut self, event: Event<Service>) {
        match event {
            Event::Relist => {
                let known = self.services.iter().filter(|(_, state)| state.spec.is_some());
                self.services_listed.start(known.map(|(key, _)| key.clone()));
            }
            Event::Apply(service) => {
                let key = self.key(&service.name());
                self.services_listed.seen(&key);
                let ports = service.ports.iter().map(|port| (&*port.name, port.protocol, port.port));
                let spec = ServiceSpec::of(&service, self.ports(ports));
                let state = self.services.entry(key.clone()).or_default();
                if state.spec.as_ref() != Some(&spec) {
                    state.spec = Some(spec);
                    self.changed.insert(key);
                }
            }
            Event::Delete(service) => self.remove(&key(&service.name())),
            Event::Synced => self.services_listed.finish().iter().for_each(|key| self.remove(key)),
        }
    }

    fn remove(&mut self, key: &Key) {
        let Some(state) = self.services.get_mut(key) else { return };
        if state.spec.take().is_some() {
            self.changed.insert(key.clone());
        }
        if state.slices.is_empty() {
            self.services.remove(key);
        }
    }

    /// Takes an event about a slice.
    pub(super) fn slice(&mut self, event: Event<EndpointSlice>) {
        match event {
            Event::Relist => self.slices_listed.start(self.slices.keys().cloned()),
            Event::Apply(slice) => {
                let name = self.slice_name(&slice);
                self.slices_listed.seen(&name);
                let Some(service) = slice.service_name() else { return self.remove_slice(&name) };
                let key = self.key(&service);
                if self.slices.get(&name).is_some_and(|old| *old != key) {
                    self.remove_slice(&name);
                }
                let ports = slice.ports.iter().map(|port| (&*port.name, port.protocol, port.port));
                let subset = Subset::of(&slice, self.ports(ports));
                self.put_slice(name, key, subset);
            }
            Event::Delete(slice) => {
                let name = self.slice_name(&slice);
                self.remove_slice(&name);
            }
            Event::Synced => self.slices_listed.finish().iter().for_each(|name| self.remove_slice(name)),
        }
    }

    fn put_slice(&mut self, name: SliceName, key: Key, subset: Subset) {
        let state = self.services.entry(key.clone()).or_default();
        let place = state.slices.binary_search_by(|(known, _)| known.cmp(&name.1));
        match place {
            Ok(at) if *state.slices[at].1 == subset => return,
            Ok(at) => state.slices[at].1 = Arc::new(subset),
            Err(at) => {
                let mut slices = std::mem::take(&mut state.slices).into_vec();
                slices.insert(at, (name.1.clone(), Arc::new(subset)));
                state.slices = slices.into();
                self.slices.insert(name, key.clone());
            }
        }
        self.changed.insert(key);
    }

    fn remove_slice(&mut self, name: &SliceName) {
        let Some(key) = self.slices.remove(name) else { return };
        let Some(state) = self.services.get_mut(&key) else { return };
        let slices = std::mem::take(&mut state.slices).into_vec();
        state.slices = slices.into_iter().filter(|(known, _)| *known != name.1).collect();
        if state.slices.is_empty() && state.spec.is_none() {
            self.services.remove(&key);
        }
        self.changed.insert(key);
    }

    /// The key of a Service; that of the map if the Service is known, so that there is one copy.
    fn key(&self, name: &ServiceName) -> Key {
        let key = key(name);
        self.services.get_key_value(&key).map_or(key, |(known, _)| known.clone())
    }

    /// The name of a slice; its namespace is shared with those of other slices.
    fn slice_name(&mut self, slice: &EndpointSlice) -> SliceName {
        let namespace = &slice.metadata.namespace;
        if !self.namespaces.contains(namespace) {
            self.namespaces.insert(namespace.clone());
        }
        let namespace = self.namespaces.get(namespace).unwrap_or(namespace).clone();
        (namespace, slice.metadata.name.clone())
    }

    /// A list of ports, in order; the known one if there is an equal one, so that there is one copy.
    fn ports<'a>(
        &mut self,
        ports: impl Iterator<Item = (&'a str, service::objects::Protocol, u16)>,
    ) -> Arc<[Port]> {
        let mut ports: Vec<_> = ports
            .map(|(name, protocol, number)| Port {
                name: name.to_ascii_lowercase().into_bytes().into(),
                protocol,
                number,
            })
            .collect();
        ports.sort();
        if let Some(known) = self.ports.get(&ports[..]) {
            return known.clone();
        }
        // Lists that are no longer used are dropped once there may be many of them.
        if self.ports.len() >= 2 * self.services.len() + 64 {
            self.ports.retain(|ports| Arc::strong_count(ports) > 1);
        }
        let ports: Arc<[Port]> = ports.into();
        self.ports.insert(ports.clone());
        ports
    }
}
