//! The addresses of pods, for pod records and search paths.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use service::objects::Pod;
use service::{Event, Listing};

use crate::zone::Change;

type PodName = (Arc<str>, Arc<str>);

/// The addresses of pods, by pod and by address.
#[derive(Debug)]
pub(super) struct Pods {
    pods: HashMap<PodName, Vec<IpAddr>>,
    /// The number of pods of each namespace at an address. Pods in the network of their node share an address.
    namespaces: HashMap<IpAddr, HashMap<Arc<str>, usize>>,
    listed: Listing<PodName>,
}

impl Pods {
    /// No pods yet. If they are not followed, their list counts as complete.
    pub(super) fn new(followed: bool) -> Self {
        let listed = if followed { Listing::default() } else { Listing::nothing_to_list() };
        Self { pods: HashMap::new(), namespaces: HashMap::new(), listed }
    }

    /// Whether the first list of pods is complete.
    pub(super) fn listed(&self) -> bool {
        self.listed.complete()
    }

    /// Takes an event.
    pub(super) fn event(&mut self, event: Event<Pod>, changes: &mut Vec<Change>) {
        match event {
            Event::Relist => self.listed.start(self.pods.keys().cloned()),
            Event::Apply(pod) => {
                let name = (pod.metadata.namespace, pod.metadata.name);
                self.listed.seen(&name);
                self.put(name, pod.addresses, changes);
            }
            Event::Delete(pod) => self.put((pod.metadata.namespace, pod.metadata.name), Vec::new(), changes),
            Event::Synced => {
                for name in self.listed.finish() {
                    self.put(name, Vec::new(), changes);
                }
            }
        }
    }

    /// Replaces the addresses of a pod.
    fn put(&mut self, name: PodName, addresses: Vec<IpAddr>, changes: &mut Vec<Change>) {
        let namespace = name.0.clone();
        let old = match addresses.is_empty() {
            true => self.pods.remove(&name),
            false => self.pods.insert(name, addresses.clone()),
        };
        let old = old.unwrap_or_default();
        if old == addresses {
            return;
        }
        for address in &addresses {
            *self.namespaces.entry(*address).or_default().entry(namespace.clone()).or_default() += 1;
        }
        for address in &old {
            let Some(namespaces) = self.namespaces.get_mut(address) else { continue };
            if let Some(count) = namespaces.get_mut(&namespace) {
                *count -= 1;
            }
            namespaces.retain(|_, count| *count > 0);
            if namespaces.is_empty() {
                self.namespaces.remove(address);
            }
        }
        for address in addresses.into_iter().chain(old) {
            let mut namespaces: Vec<_> =
                self.namespaces.get(&address).map_or(Vec::new(), |all| all.keys().cloned().collect());
            namespaces.sort();
            changes.push(Change::Pods(address, namespaces));
        }
    }
}
