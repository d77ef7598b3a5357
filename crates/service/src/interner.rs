//! One copy of each string that many objects repeat.

use std::collections::HashSet;
use std::sync::Arc;

/// Strings seen so far. Node and zone names come with every endpoint; a cluster has few of them.
#[derive(Debug, Default)]
pub(crate) struct Interner(HashSet<Arc<str>>);

impl Interner {
    /// Replaces the string by the copy all others share.
    pub(crate) fn share(&mut self, text: &mut Arc<str>) {
        match self.0.get(text) {
            Some(shared) => *text = shared.clone(),
            None => {
                self.0.insert(text.clone());
            }
        }
    }
}
