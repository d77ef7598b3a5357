//! A list whose elements are found by a key.

use std::collections::HashMap;

use serde_json::Value;

/// The list while it is being changed. An element that is removed leaves its place empty, so that the others keep theirs.
pub(super) struct Keyed<'k> {
    merge_key: &'k str,
    places: Vec<Option<Value>>,
    /// The places of the elements with a key, in their order; one may occur more than once.
    index: HashMap<Value, Vec<usize>>,
}

impl<'k> Keyed<'k> {
    pub(super) fn new(list: Vec<Value>, merge_key: &'k str) -> Self {
        let mut keyed = Self { merge_key, places: Vec::with_capacity(list.len()), index: HashMap::new() };
        for value in list {
            keyed.push(value);
        }
        keyed
    }

    /// The place of the first element with that key.
    pub(super) fn position(&self, key: &Value) -> Option<usize> {
        self.index.get(key)?.first().copied()
    }

    pub(super) fn push(&mut self, value: Value) {
        if let Some(key) = value.get(self.merge_key) {
            self.index.entry(key.clone()).or_default().push(self.places.len());
        }
        self.places.push(Some(value));
    }

    /// Removes every element with that key.
    pub(super) fn remove(&mut self, key: &Value) {
        for at in self.index.remove(key).unwrap_or_default() {
            self.places[at] = None;
        }
    }

    /// Changes an element, its key included: a patch can take the key away by naming it null.
    pub(super) fn change<E>(
        &mut self,
        at: usize,
        change: impl FnOnce(&mut Value) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(value) = &mut self.places[at] else { return Ok(()) };
        let before = value.get(self.merge_key).cloned();
        change(value)?;
        let after = value.get(self.merge_key);
        if after == before.as_ref() {
            return Ok(());
        }
        if let Some(after) = after {
            let places = self.index.entry(after.clone()).or_default();
            places.insert(places.partition_point(|place| *place < at), at);
        }
        if let Some(before) = before
            && let Some(places) = self.index.get_mut(&before)
        {
            places.retain(|place| *place != at);
            if places.is_empty() {
                self.index.remove(&before);
            }
        }
        Ok(())
    }

    pub(super) fn into_list(self) -> Vec<Value> {
        self.places.into_iter().flatten().collect()
    }
}
