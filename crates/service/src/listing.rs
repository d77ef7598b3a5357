//! How far the list of a kind has come, and what is gone after a new one.

use std::collections::HashSet;
use std::hash::Hash;

/// How far the list of a kind has come.
///
/// A watch that lists again names every object that is there; what was there before and is not named is gone.
///
/// ```
/// use service::Listing;
///
/// let mut listing = Listing::default();
/// listing.start([].into_iter());
/// listing.seen(&"a");
/// assert!(listing.finish().is_empty() && listing.complete());
/// listing.start(["a", "b"].into_iter());
/// listing.seen(&"b");
/// assert_eq!(listing.finish().into_iter().collect::<Vec<_>>(), ["a"]);
/// ```
#[derive(Debug)]
pub struct Listing<K> {
    complete: bool,
    /// Known when the list that is under way began, and not named since.
    missing: HashSet<K>,
}

impl<K> Default for Listing<K> {
    fn default() -> Self {
        Self { complete: false, missing: HashSet::new() }
    }
}

impl<K: Eq + Hash> Listing<K> {
    /// For a kind that is not followed: its list has nothing to wait for.
    pub fn nothing_to_list() -> Self {
        Self { complete: true, missing: HashSet::new() }
    }

    /// Whether a list was complete once. Before that an absent object says nothing.
    pub fn complete(&self) -> bool {
        self.complete
    }

    /// A list begins ([`Event::Relist`](crate::Event::Relist)); `known` is what is there so far, also from a first list
    /// that broke off.
    pub fn start(&mut self, known: impl Iterator<Item = K>) {
        self.missing = known.collect();
    }

    /// The list or the watch names an object.
    pub fn seen(&mut self, name: &K) {
        self.missing.remove(name);
    }

    /// The list is complete ([`Event::Synced`](crate::Event::Synced)); returns what is gone.
    pub fn finish(&mut self) -> HashSet<K> {
        self.complete = true;
        std::mem::take(&mut self.missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_list_that_broke_off_named_is_gone_if_the_next_does_not_name_it() {
        let mut listing = Listing::default();
        listing.start([].into_iter());
        listing.seen(&"a");
        assert!(!listing.complete());
        listing.start(["a"].into_iter());
        listing.seen(&"b");
        assert_eq!(listing.finish(), HashSet::from(["a"]));
        assert!(listing.complete() && listing.finish().is_empty());
    }
}
