//! How far the list of a kind has come.

use std::collections::HashSet;
use std::hash::Hash;

/// How far the list of a kind has come.
#[derive(Debug)]
pub(super) enum Listing<K> {
    /// Never complete so far.
    First,
    /// Complete.
    Done,
    /// Started over; these were there before and have not been named again.
    Again(HashSet<K>),
}

impl<K: Eq + Hash> Listing<K> {
    /// Whether everything was named once.
    pub(super) fn complete(&self) -> bool {
        !matches!(self, Self::First)
    }

    /// Begins anew.
    pub(super) fn start(&mut self, known: impl Iterator<Item = K>) {
        if self.complete() {
            *self = Self::Again(known.collect());
        }
    }

    /// Something was named.
    pub(super) fn seen(&mut self, name: &K) {
        if let Self::Again(missing) = self {
            missing.remove(name);
        }
    }

    /// Ends; returns what is gone.
    pub(super) fn finish(&mut self) -> HashSet<K> {
        match std::mem::replace(self, Self::Done) {
            Self::Again(missing) => missing,
            Self::First | Self::Done => HashSet::new(),
        }
    }
}
