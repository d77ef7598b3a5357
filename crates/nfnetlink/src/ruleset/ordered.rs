//! Named objects in the order in which they were made.

use std::collections::{BTreeMap, HashMap};

/// A map from names that remembers the order of insertion.
#[derive(Debug, Clone)]
pub(super) struct Ordered<T> {
    places: HashMap<String, u64>,
    items: BTreeMap<u64, T>,
    next: u64,
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self { places: HashMap::new(), items: BTreeMap::new(), next: 0 }
    }
}

impl<T> Ordered<T> {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.items.iter_mut().map(|(_, item)| item)
    }

    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.items.get(self.places.get(name)?)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        self.items.get_mut(self.places.get(name)?)
    }

    /// Adds at the end. The name must be new.
    pub(super) fn push(&mut self, name: &str, item: T) {
        self.places.insert(name.to_owned(), self.next);
        self.items.insert(self.next, item);
        self.next += 1;
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<T> {
        self.items.remove(&self.places.remove(name)?)
    }
}
