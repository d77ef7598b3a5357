//! What is known of a cluster, read without waiting while it changes.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use papaya::{Guard, HashMap, LocalGuard};
use seize::Collector;

use super::inline::InlineKey;
use super::reverse::Reverse;
use super::{Key, Records, label, namespace};

/// A map that is read while it changes.
pub(super) type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Makes maps that share their readers.
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

/// What is known of a cluster.
///
/// Queries read it on all processors while one writer changes it, without a lock: each entry is swapped in whole,
/// and an old one is freed when nobody can be reading it any more. Looking up costs one hash whatever the number
/// of Services. A change costs the size of the one Service.
#[derive(Debug)]
pub(crate) struct Table {
    collector: Arc<Collector>,
    /// In place, beside their keys: each step to another place in memory is a tenth of an answer.
    services: Map<InlineKey, Records>,
    namespaces: Map<Box<[u8]>, Presence>,
    pub(super) reverse: Reverse,
    pods: Map<IpAddr, Box<[Box<[u8]>]>>,
    /// Serial number of the SOA record; changes when the names do.
    serial: AtomicU32,
    synced: AtomicBool,
}

/// Why a namespace is a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Presence {
    declared: bool,
    services: usize,
}

/// A step from one state of the table to the next.
#[derive(Debug)]
pub(crate) enum Change {
    /// A Service has these records now.
    Put(Box<Records>),
    /// There is no such Service any more.
    Remove(Key),
    /// A namespace is there, or not.
    Namespace(Arc<str>, bool),
    /// The pods with this address are in these namespaces.
    Pods(IpAddr, Vec<Arc<str>>),
    /// Everything is known now.
    Synced,
}

impl Table {
    /// A table that knows nothing yet.
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

    /// The table as it is now. What is read from it stays until the reading ends; a reading is short, since memory
    /// that was read is not freed before its end.
    pub(crate) fn read(&self) -> Reading<'_> {
        Reading { table: self, guard: self.collector.enter() }
    }

    /// Takes in a change at a time given in seconds since 1970, from which the serial number is made. There is
    /// one writer.
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
        // A Service is found only in a namespace that is there, so this comes first.
        let old = self.services.get(&*key, guard);
        if old.is_none() {
            self.presence(namespace(&key), |presence| presence.services += 1, guard);
        }
        self.services.insert(InlineKey::from(&key), records, guard);
        // Nobody else writes, so it is there.
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

    /// Whether everything was known once. Before, nothing can be said to be absent.
    pub(crate) fn synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }
}

/// The table while it is being read.
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

    /// Whether a namespace, as a label in wire form, is there.
    pub(crate) fn namespace(&self, label: &[u8]) -> bool {
        self.table.namespaces.contains_key(label, &self.guard)
    }

    /// Whether a namespace, as a label in wire form, was itself listed, and not only a Service in it.
    pub(crate) fn declares(&self, label: &[u8]) -> bool {
        self.table.namespaces.get(label, &self.guard).is_some_and(|presence| presence.declared)
    }

    /// The namespaces of the pods with an address, as labels in wire form.
    pub(crate) fn pods(&self, address: IpAddr) -> &[Box<[u8]>] {
        self.table.pods.get(&address, &self.guard).map_or(&[], |labels| labels)
    }

    /// All addresses that lead back to a name, in no order.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.table.reverse.addresses(&self.guard)
    }

    /// Everything that could be told apart, in order; for comparing tables in tests.
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
