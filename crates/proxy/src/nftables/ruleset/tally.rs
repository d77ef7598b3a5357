//! Things that several Services may want at once and that are there while anyone does.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// How many want each thing, and which came or went since last asked.
#[derive(Debug)]
pub(crate) struct Tally<T> {
    counts: HashMap<T, usize>,
    /// Whether each touched thing was there before.
    touched: BTreeMap<T, bool>,
}

impl<T> Default for Tally<T> {
    fn default() -> Self {
        Self { counts: HashMap::new(), touched: BTreeMap::new() }
    }
}

impl<T: Copy + Eq + Hash + Ord> Tally<T> {
    /// One that wanted `old` now wants `new`.
    pub(crate) fn replace(&mut self, old: &[T], new: &[T]) {
        for thing in new {
            self.touch(thing);
            *self.counts.entry(*thing).or_default() += 1;
        }
        for thing in old {
            self.touch(thing);
            if let Some(count) = self.counts.get_mut(thing) {
                *count -= 1;
                if *count == 0 {
                    self.counts.remove(thing);
                }
            }
        }
    }

    fn touch(&mut self, thing: &T) {
        let present = self.counts.contains_key(thing);
        self.touched.entry(*thing).or_insert(present);
    }

    /// What came (true) or went (false) since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<(T, bool)> {
        let touched = std::mem::take(&mut self.touched).into_iter();
        touched
            .map(|(thing, before)| (thing, before, self.counts.contains_key(&thing)))
            .filter(|(_, before, now)| before != now)
            .map(|(thing, _, now)| (thing, now))
            .collect()
    }

    /// Whether this is there.
    pub(crate) fn contains(&self, thing: &T) -> bool {
        self.counts.contains_key(thing)
    }

    /// What is there.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.counts.keys()
    }
}
