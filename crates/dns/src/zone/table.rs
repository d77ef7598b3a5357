//! The table of the names of a cluster, read without waiting while it changes.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use papaya::{Guard, HashMap, LocalGuard};
use seize::Collector;

use super::inline::InlineKey;
use super::reverse::Reverse;
use super::{Key, Records, label, namespace};

/// A map that can be read while it changes.
pub(super) type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Makes maps that share one collector of old entries, so that one guard is enough to read all of them.
#[derive(Debug)]
pub(super) struct Maps(Arc<Collector>);

impl Maps {
    /// A new map.
    pub(super) fn map<K: Send + 'static, V: Send + 'static>(&self) -> Map<K, V> {
        HashMap::builder()
            .hasher(foldhash::fast::RandomState::default())
            .shared_collector(self.0.clone())
            .build()
    }
}

/// The names of a cluster.
///
/// Queries read it on all processors while one writer changes it, without a lock: entries are replaced whole, and an
/// old one is freed when no query can be reading it any more. A lookup costs one hash, whatever the number of
/// Services; a change costs as much as the Service is large.
#[derive(Debug)]
pub(crate) struct Table {
    collector: Arc<Collector>,
    /// Records lie beside their keys in memory: following a pointer to another place takes a tenth of the time of an
    /// answer.
    services: Map<InlineKey, Records>,
    namespaces: Map<Box<[u8]>, Presence>,
    pub(super) reverse: Reverse,
    pods: Map<IpAddr, Box<[Box<[u8]>]>>,
    /// The serial number of the SOA record, which grows when names change.
    serial: AtomicU32,
    synced: AtomicBool,
}

/// Why a namespace is a name: it was listed itself, or there are Services in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Presence {
    declared: bool,
    services: usize,
}

/// A change of the table.
#[derive(Debug)]
pub(crate) enum Change {
    /// A Service has these records.
    Put(Box<Records>),
    /// There is no Service with this key any more.
    Remove(Key),
    /// Whether there is a namespace with this name.
    Namespace(Arc<str>, bool),
    /// The namespaces of the pods with this address.
    Pods(IpAddr, Vec<Arc<str>>),
    /// The first lists of all objects are complete.
    Synced,
}

impl Table {
    /// An empty table.
    pub(crate) fn new() -> Self {
        let maps = Maps(Arc::new(Collector::new()));
        Self {
            services: maps.map(),
            namespaces: maps.map(),
            reverse: Reverse::new(&maps),
            pods: maps.map(),
            serial: AtomicU32::new(1),
            synced: AtomicBool::new(false),
            collector: maps.0,
        }
    }

    /// Begins a reading. What it returns stays valid until it ends. It should be short, since no memory of the table
    /// is freed before its end.
    pub(crate) fn read(&self) -> Reading<'_> {
        Reading { table: self, guard: self.collector.enter() }
    }

    /// Applies a change. `now` is the time in seconds since 1970 and becomes the serial number. Only one thread may
    /// apply changes.
    pub(crate) fn apply(&self, change: Change, now: u64) {
        let guard = self.collector.enter();
        match change {
            Change::Put(records) => self.put(*records, &guard),
            Change::Remove(key) => self.remove(&key, &guard),
            Change::Namespace(name, there) => {
                self.presence(&label(&name), |presence| presence.declared = there, &guard);
            }
            Change::Pods(address, namespaces) => {
                let labels: Box<[_]> = namespaces.iter().map(|namespace| label(namespace)).collect();
                if labels.is_empty() {
                    self.pods.remove(&address, &guard);
                } else {
                    self.pods.insert(address, labels, &guard);
                }
            }
            Change::Synced => self.synced.store(true, Ordering::Release),
        }
        self.serial.store(now as u32, Ordering::Relaxed);
    }

    fn put(&self, records: Records, guard: &impl Guard) {
        let key = records.key.clone();
        // A Service is found only in a known namespace, so the namespace comes first.
        let old = self.services.get(&*key, guard);
        if old.is_none() {
            self.presence(namespace(&key), |presence| presence.services += 1, guard);
        }
        self.services.insert(InlineKey::from(&key), records, guard);
        // It was inserted just now, and nothing else writes.
        let Some(new) = self.services.get(&*key, guard) else { return };
        self.reverse.add(new, guard);
        if let Some(old) = old {
            self.reverse.remove(old, Some(new), guard);
        }
    }

    fn remove(&self, key: &Key, guard: &impl Guard) {
        let Some(old) = self.services.remove(&**key, guard) else { return };
        self.reverse.remove(old, None, guard);
        self.presence(namespace(key), |presence| presence.services -= 1, guard);
    }

    fn presence(&self, label: &[u8], change: impl FnOnce(&mut Presence), guard: &impl Guard) {
        let mut presence = self.namespaces.get(label, guard).cloned().unwrap_or_default();
        change(&mut presence);
        if presence == Presence::default() {
            self.namespaces.remove(label, guard);
        } else {
            self.namespaces.insert(label.into(), presence, guard);
        }
    }

    /// The serial number of the SOA record.
    pub(crate) fn serial(&self) -> u32 {
        self.serial.load(Ordering::Relaxed)
    }

    /// Whether the first lists of all objects are complete. Before that no name can be said not to exist.
    pub(crate) fn synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }
}

/// A reading of the table.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    pub(super) table: &'a Table,
    pub(super) guard: LocalGuard<'a>,
}

impl Reading<'_> {
    /// The records of a Service.
    pub(crate) fn service(&self, key: &[u8]) -> Option<&Records> {
        self.table.services.get(key, &self.guard)
    }

    /// All Services, in no order.
    pub(crate) fn services(&self) -> impl Iterator<Item = &Records> {
        self.table.services.iter(&self.guard).map(|(_, records)| records)
    }

    /// Whether there is a namespace with this label in wire form.
    pub(crate) fn namespace(&self, label: &[u8]) -> bool {
        self.table.namespaces.contains_key(label, &self.guard)
    }

    /// Whether the namespace with this label in wire form was itself listed; Services in it do not count.
    pub(crate) fn declares(&self, label: &[u8]) -> bool {
        self.table.namespaces.get(label, &self.guard).is_some_and(|presence| presence.declared)
    }

    /// The labels of the namespaces of the pods with an address, in wire form.
    pub(crate) fn pods(&self, address: IpAddr) -> &[Box<[u8]>] {
        self.table.pods.get(&address, &self.guard).map_or(&[], |labels| labels)
    }

    /// All addresses with a reverse name, in order.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.table.reverse.addresses(&self.guard)
    }

    /// The contents as text, to compare tables in tests.
    #[cfg(test)]
    pub(super) fn snapshot(&self) -> String {
        let mut services: Vec<_> = self.services().map(|records| format!("{records:?}")).collect();
        let namespaces = self.table.namespaces.iter(&self.guard);
        let mut namespaces: Vec<_> =
            namespaces.map(|(name, presence)| format!("{name:?} {presence:?}")).collect();
        services.sort();
        namespaces.sort();
        format!("{services:#?} {namespaces:#?} {:#?}", self.table.reverse.snapshot(&self.guard))
    }
}
