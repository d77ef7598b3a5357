//! Query ids that cannot be guessed (RFC 5452, 9.2).

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

/// A source of query ids.
///
/// An id is the hash of a counter under a secret key from the system. Knowing some values of the hash (SipHash, of the
/// standard library) does not help to guess the others.
#[derive(Debug, Default)]
pub(super) struct Ids {
    key: RandomState,
    count: AtomicU64,
}

impl Ids {
    /// The next id.
    pub(super) fn next(&self) -> u16 {
        self.key.hash_one(self.count.fetch_add(1, Ordering::Relaxed)) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_not_consecutive() {
        let ids = Ids::default();
        let drawn: Vec<u16> = (0..1000).map(|_| ids.next()).collect();
        let steps = drawn.windows(2).filter(|pair| pair[1] == pair[0].wrapping_add(1)).count();
        assert!(steps < 10, "{steps} of 1000 ids follow the one before");
        assert!(drawn.iter().collect::<std::collections::HashSet<_>>().len() > 900);
    }
}
