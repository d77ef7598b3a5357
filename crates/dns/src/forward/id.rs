//! Ids that nobody can guess (RFC 5452, 9.2).

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

/// Draws ids of queries.
///
/// A counter, hashed under a secret key: the standard library's hash (SipHash) is made so that who sees some
/// of its values cannot tell the others, and takes its key from the system.
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
    fn ids_do_not_count_up() {
        let ids = Ids::default();
        let drawn: Vec<u16> = (0..1000).map(|_| ids.next()).collect();
        let steps = drawn.windows(2).filter(|pair| pair[1] == pair[0].wrapping_add(1)).count();
        assert!(steps < 10, "{steps} of 1000 ids follow the one before");
        assert!(drawn.iter().collect::<std::collections::HashSet<_>>().len() > 900);
    }
}
