//! The names of a cluster: an index from name to records, kept up Service by Service.

mod dashed;
mod find;
mod records;
mod reverse;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use service::ServiceName;

use crate::wire::Name;

pub(crate) use find::{Filter, Found};
pub(crate) use records::{Behind, Host, Records};

use reverse::Reverse;

/// The labels `<service>.<namespace>` in wire form, without a root: what Services are looked up by, since they
/// stand so in the question.
pub(crate) type Key = Arc<[u8]>;

/// The names of a cluster.
///
/// Looking up costs one hash whatever the number of Services. A change costs the size of the one Service.
#[derive(Debug)]
pub(crate) struct Zone {
    domain: Name,
    /// Addresses of this server, which its NS record leads to.
    servers: Vec<IpAddr>,
    services: HashMap<Key, Arc<Records>>,
    namespaces: HashMap<Box<[u8]>, Presence>,
    reverse: Reverse,
    /// Serial number of the SOA record; changes when the names do.
    serial: u32,
    synced: bool,
}

/// Why a namespace is a name.
#[derive(Debug, Default)]
struct Presence {
    declared: bool,
    services: usize,
}

/// A step from one state of the zone to the next.
#[derive(Debug)]
pub(crate) enum Change {
    /// A Service has these records now.
    Put(Arc<Records>),
    /// There is no such Service any more.
    Remove(Key),
    /// A namespace is there, or not.
    Namespace(Arc<str>, bool),
    /// Everything is known now.
    Synced,
}

impl Zone {
    /// A zone that knows nothing yet.
    pub(crate) fn new(domain: Name, servers: Vec<IpAddr>) -> Self {
        Self {
            domain,
            servers,
            services: HashMap::new(),
            namespaces: HashMap::new(),
            reverse: Reverse::default(),
            serial: 1,
            synced: false,
        }
    }

    /// Takes in a change at a time given in seconds since 1970, from which the serial number is made.
    pub(crate) fn apply(&mut self, change: Change, now: u64) {
        match change {
            Change::Put(records) => self.put(records),
            Change::Remove(key) => self.remove(&key),
            Change::Namespace(name, there) => {
                let label = label(&name);
                self.namespaces.entry(label.clone()).or_default().declared = there;
                self.forget_namespace(&label);
            }
            Change::Synced => self.synced = true,
        }
        self.serial = now as u32;
    }

    fn put(&mut self, records: Arc<Records>) {
        self.reverse.add(&records);
        if let Some(old) = self.services.insert(records.key.clone(), records.clone()) {
            self.reverse.remove(&old, Some(&records));
        } else {
            self.namespaces.entry(namespace(&records.key).into()).or_default().services += 1;
        }
    }

    fn remove(&mut self, key: &Key) {
        let Some(old) = self.services.remove(key) else { return };
        self.reverse.remove(&old, None);
        let label = namespace(key);
        if let Some(presence) = self.namespaces.get_mut(label) {
            presence.services -= 1;
        }
        self.forget_namespace(label);
    }

    fn forget_namespace(&mut self, label: &[u8]) {
        if let Entry::Occupied(entry) = self.namespaces.entry(label.into())
            && !entry.get().declared
            && entry.get().services == 0
        {
            entry.remove();
        }
    }

    /// The domain of the cluster.
    pub(crate) fn domain(&self) -> &Name {
        &self.domain
    }

    /// Addresses of this server.
    pub(crate) fn servers(&self) -> &[IpAddr] {
        &self.servers
    }

    /// The serial number of the SOA record.
    pub(crate) fn serial(&self) -> u32 {
        self.serial
    }

    /// Whether everything was known once. Before, nothing can be said to be absent.
    pub(crate) fn synced(&self) -> bool {
        self.synced
    }
}

/// The key of a Service.
pub(crate) fn key(name: &ServiceName) -> Key {
    [label(&name.name), label(&name.namespace)].concat().into()
}

/// The namespace's label in a key.
fn namespace(key: &[u8]) -> &[u8] {
    &key[1 + usize::from(key[0])..]
}

/// A label in wire form. What is longer than a label can be is cut, and so never found; the API allows none.
fn label(text: &str) -> Box<[u8]> {
    let text = &text.as_bytes()[..text.len().min(63)];
    [&[text.len() as u8], text].concat().to_ascii_lowercase().into()
}
