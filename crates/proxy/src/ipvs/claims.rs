//! Who asks for a thing, where several Services may ask for the same.

use std::collections::{BTreeMap, BTreeSet};

use service::ServiceName;

/// Things with the Services that ask for them.
#[derive(Debug, Clone)]
pub(super) struct Claims<K>(BTreeMap<K, BTreeSet<ServiceName>>);

impl<K> Default for Claims<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Copy> Claims<K> {
    /// A Service asks for a thing.
    pub(super) fn claim(&mut self, key: K, name: &ServiceName) {
        self.0.entry(key).or_default().insert(name.clone());
    }

    /// It does not any more.
    pub(super) fn release(&mut self, key: K, name: &ServiceName) {
        if let Some(names) = self.0.get_mut(&key) {
            names.remove(name);
            if names.is_empty() {
                self.0.remove(&key);
            }
        }
    }

    /// Whether anybody asks for it.
    pub(super) fn contains(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// Who has it: the first by name of those that ask.
    pub(super) fn owner(&self, key: &K) -> Option<&ServiceName> {
        self.0.get(key)?.first()
    }

    /// All things, in order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.keys()
    }

    /// Those from this one to that one.
    pub(super) fn range(&self, range: impl std::ops::RangeBounds<K>) -> impl Iterator<Item = &K> {
        self.0.range(range).map(|(key, _)| key)
    }
}
