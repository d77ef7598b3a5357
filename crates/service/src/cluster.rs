//! The state of the cluster, kept up event by event.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::endpoint::gather;
use crate::interner::Interner;
use crate::objects::{EndpointSlice, Service};
use crate::{Event, Family, Listing, PortView, ServiceName, Viewpoint};

/// Services that events touched, to be looked at again.
pub type Changed = BTreeSet<ServiceName>;

/// Services and their EndpointSlices.
///
/// Each event costs the size of its object. An object that says nothing new touches no Service, so a watch
/// that starts over costs a comparison.
#[derive(Debug, Default)]
pub struct Cluster {
    services: HashMap<ServiceName, Entry>,
    /// Which Service each slice counts for, as slices may change their label.
    slices: HashMap<SliceName, ServiceName>,
    services_listed: Listing<ServiceName>,
    slices_listed: Listing<SliceName>,
    names: Interner,
}

type SliceName = (Arc<str>, Arc<str>);

/// What is known under a Service's name. Slices may come before their Service and outlive it.
#[derive(Debug, Default)]
struct Entry {
    service: Option<Service>,
    /// In boxes, since a map has room for eleven however few it holds, and most Services have one.
    slices: BTreeMap<Arc<str>, Box<EndpointSlice>>,
}

impl Cluster {
    /// An empty cluster whose lists are not complete.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether both lists have been complete once. Before that an absent Service says nothing.
    pub fn synced(&self) -> bool {
        self.services_listed.complete() && self.slices_listed.complete()
    }

    /// Takes in an event about Services.
    pub fn service_event(&mut self, event: Event<Service>, changed: &mut Changed) {
        match event {
            Event::Relist => {
                let known = self.services.iter().filter(|(_, entry)| entry.service.is_some());
                self.services_listed.start(known.map(|(name, _)| name.clone()));
            }
            Event::Apply(service) => {
                let name = service.name();
                self.services_listed.seen(&name);
                let entry = self.services.entry(name.clone()).or_default();
                let same = entry.service.as_ref().is_some_and(|old| same_service(old, &service));
                entry.service = Some(service);
                if !same {
                    changed.insert(name);
                }
            }
            Event::Delete(service) => self.remove_service(service.name(), changed),
            Event::Synced => {
                for name in self.services_listed.finish() {
                    self.remove_service(name, changed);
                }
            }
        }
    }

    /// Takes in an event about EndpointSlices. Slices of headless Services are kept as well; DNS reads them.
    pub fn slice_event(&mut self, event: Event<EndpointSlice>, changed: &mut Changed) {
        match event {
            Event::Relist => self.slices_listed.start(self.slices.keys().cloned()),
            Event::Apply(slice) => self.apply_slice(slice, changed),
            Event::Delete(slice) => self.remove_slice(&slice_name(&slice), changed),
            Event::Synced => {
                for name in self.slices_listed.finish() {
                    self.remove_slice(&name, changed);
                }
            }
        }
    }

    fn remove_service(&mut self, name: ServiceName, changed: &mut Changed) {
        let Some(entry) = self.services.get_mut(&name) else { return };
        if entry.service.take().is_none() {
            return;
        }
        self.drop_if_empty(&name);
        changed.insert(name);
    }

    fn apply_slice(&mut self, mut slice: EndpointSlice, changed: &mut Changed) {
        let name = slice_name(&slice);
        self.slices_listed.seen(&name);
        let service = slice.service_name();
        if self.slices.get(&name) != service.as_ref() {
            self.remove_slice(&name, changed);
        }
        let Some(service) = service else { return };
        for endpoint in &mut slice.endpoints {
            endpoint.node.iter_mut().chain(&mut endpoint.zone).for_each(|text| self.names.share(text));
        }
        let entry = self.services.entry(service.clone()).or_default();
        let old = entry.slices.insert(name.1.clone(), Box::new(slice));
        let same = old.is_some_and(|old| same_slice(&old, &entry.slices[&name.1]));
        self.slices.insert(name, service.clone());
        if !same {
            changed.insert(service);
        }
    }

    fn remove_slice(&mut self, name: &SliceName, changed: &mut Changed) {
        let Some(service) = self.slices.remove(name) else { return };
        if let Some(entry) = self.services.get_mut(&service) {
            entry.slices.remove(&name.1);
        }
        self.drop_if_empty(&service);
        changed.insert(service);
    }

    fn drop_if_empty(&mut self, name: &ServiceName) {
        if self.services.get(name).is_some_and(|entry| entry.service.is_none() && entry.slices.is_empty()) {
            self.services.remove(name);
        }
    }

    /// Names of all Services.
    pub fn names(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.iter().filter(|(_, entry)| entry.service.is_some()).map(|(name, _)| name)
    }

    /// A Service.
    pub fn service(&self, name: &ServiceName) -> Option<&Service> {
        self.services.get(name)?.service.as_ref()
    }

    /// The EndpointSlices that carry the name of this Service, in order of name.
    pub fn slices(&self, name: &ServiceName) -> impl Iterator<Item = &EndpointSlice> {
        self.services.get(name).into_iter().flat_map(|entry| entry.slices.values()).map(Box::as_ref)
    }

    /// The ports of a Service that a proxy serves, in each family that the Service has an address in. Empty
    /// if there is no such Service or a proxy leaves it alone.
    pub fn ports<'a>(&'a self, name: &ServiceName, viewpoint: &Viewpoint) -> Vec<PortView<'a>> {
        let Some(entry) = self.services.get(name) else { return Vec::new() };
        let Some(service) = entry.service.as_ref().filter(|service| service.proxied()) else {
            return Vec::new();
        };
        let mut views = Vec::new();
        for family in Family::ALL {
            let mut addresses = service.cluster_ips().iter().copied();
            let Some(cluster_ip) = addresses.find(|address| Family::of(*address) == family) else { continue };
            for port in &service.ports {
                let slices = entry.slices.values().map(Box::as_ref).filter(|slice| !slice.headless);
                let endpoints = gather(slices, port, family);
                views.push(PortView::new(service, port, cluster_ip, endpoints, viewpoint));
            }
        }
        views
    }
}

fn slice_name(slice: &EndpointSlice) -> SliceName {
    (slice.metadata.namespace.clone(), slice.metadata.name.clone())
}

/// Whether only the version differs, and what is said beside the endpoints.
fn same_service(old: &Service, new: &Service) -> bool {
    *old == Service { metadata: old.metadata.clone(), ..new.clone() }
}

fn same_slice(old: &EndpointSlice, new: &EndpointSlice) -> bool {
    let beside = EndpointSlice {
        metadata: old.metadata.clone(),
        trigger_time: old.trigger_time.clone(),
        ..new.clone()
    };
    *old == beside
}

#[cfg(test)]
mod tests;
