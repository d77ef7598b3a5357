//! Counts of listeners that need one certain address.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use service::Family;

/// The counts of both families.
#[derive(Debug, Default)]
pub(crate) struct ListenerCounts([Arc<Listeners>; 2]);

/// The counts of one family.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    listening: AtomicUsize,
    failures: AtomicU64,
}

/// A listener that listens, until this is dropped.
#[derive(Debug)]
pub(super) struct Present(Arc<Listeners>);

impl ListenerCounts {
    /// The counts of a family.
    pub(crate) fn of(&self, family: Family) -> &Arc<Listeners> {
        &self.0[usize::from(family == Family::V6)]
    }
}

impl Listeners {
    /// How many listen.
    pub(crate) fn listening(&self) -> usize {
        self.listening.load(Ordering::Relaxed)
    }

    /// How often the address of a listener was taken.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// A listener has begun to listen.
    pub(super) fn present(self: &Arc<Self>) -> Present {
        self.listening.fetch_add(1, Ordering::Relaxed);
        Present(self.clone())
    }

    /// The address of a listener was taken.
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.listening.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_counts_while_it_listens_and_a_failure_for_ever() {
        let listener_counts = ListenerCounts::default();
        let listeners = listener_counts.of(Family::V4);
        listeners.failed();
        let present = listeners.present();
        assert_eq!((listeners.listening(), listeners.failures()), (1, 1));
        drop(present);
        assert_eq!((listeners.listening(), listeners.failures()), (0, 1));
        assert_eq!(listener_counts.of(Family::V6).failures(), 0);
    }
}
