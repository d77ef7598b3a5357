//! The health of an upstream resolver.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// How long a resolver may be silent before another is asked too, while its usual round-trip time is not known.
const UNKNOWN: Duration = Duration::from_millis(40);
/// The bounds of that time otherwise, and how many usual round-trip times it is.
const HEDGE: (Duration, Duration, u32) = (Duration::from_millis(10), Duration::from_millis(400), 3);

/// What is known about the health of a resolver.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// The number of probes that failed one after the other.
    fails: AtomicU32,
    /// Whether it did not answer the last query, and is being probed.
    suspect: AtomicBool,
    /// Whether queries to it come back to this server.
    looped: AtomicBool,
    /// The usual round-trip time in microseconds, 0 while it is not known.
    usual: AtomicU32,
}

/// The health of a resolver. The smaller it is, the sooner the resolver is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HealthState {
    /// It answers queries.
    Alive,
    /// It did not answer the last query.
    Suspect,
    /// It did not answer several probes.
    Down,
}

impl Health {
    /// The state. `most` failed probes mean that it is down; with 0 it never is.
    pub(super) fn state(&self, most: u32) -> HealthState {
        match (self.fails.load(Ordering::Relaxed), self.suspect.load(Ordering::Relaxed)) {
            (fails, true) if most > 0 && fails >= most => HealthState::Down,
            (_, true) => HealthState::Suspect,
            (_, false) => HealthState::Alive,
        }
    }

    /// Notes that it answered after the time `took`. Returns whether it was down before.
    pub(super) fn answered(&self, took: Duration, most: u32) -> bool {
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        let usual = self.usual.load(Ordering::Relaxed);
        let smooth = if usual == 0 { took } else { usual - usual / 8 + took / 8 };
        self.usual.store(smooth, Ordering::Relaxed);
        if !self.suspect.load(Ordering::Relaxed) {
            return false;
        }
        let was_down = self.state(most) == HealthState::Down;
        self.fails.store(0, Ordering::Relaxed);
        self.suspect.store(false, Ordering::Relaxed);
        was_down
    }

    /// Notes that it did not answer a query. Returns whether probes must be started.
    pub(super) fn suspect(&self) -> bool {
        !self.suspect.swap(true, Ordering::Relaxed)
    }

    /// Notes that it did not answer a probe. Returns whether it is down because of that.
    pub(super) fn failed(&self, most: u32) -> bool {
        let fails = self.fails.load(Ordering::Relaxed).saturating_add(1);
        self.fails.store(fails, Ordering::Relaxed);
        fails == most
    }

    /// Whether it is still being probed.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    /// Notes that its queries come back to this server.
    pub(super) fn leads_back(&self) {
        self.looped.store(true, Ordering::Relaxed);
    }

    /// Whether it may be asked at all: its queries do not come back.
    pub(super) fn usable(&self) -> bool {
        !self.looped.load(Ordering::Relaxed)
    }

    /// How long it may be silent before another resolver is asked too.
    pub(super) fn patience(&self) -> Duration {
        let (shortest, longest, times) = HEDGE;
        match self.usual.load(Ordering::Relaxed) {
            0 => UNKNOWN,
            usual => (Duration::from_micros(usual.into()) * times).clamp(shortest, longest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_is_down_after_some_failed_probes_and_up_with_the_first_answer() {
        let health = Health::default();
        assert!(health.suspect() && !health.suspect(), "one task of probes is enough");
        assert_eq!(health.state(2), HealthState::Suspect);
        assert!(!health.failed(2) && health.failed(2) && !health.failed(2), "reported once");
        assert_eq!((health.state(2), health.state(0)), (HealthState::Down, HealthState::Suspect));
        assert!(health.answered(Duration::from_millis(1), 2));
        assert_eq!(health.state(2), HealthState::Alive);
    }

    #[test]
    fn patience_is_a_bounded_multiple_of_the_usual_round_trip_time() {
        let health = Health::default();
        assert_eq!(health.patience(), UNKNOWN);
        health.answered(Duration::from_millis(20), 2);
        assert_eq!(health.patience(), Duration::from_millis(60));
        (0..100).for_each(|_| _ = health.answered(Duration::from_secs(2), 2));
        assert_eq!(health.patience(), HEDGE.1);
        (0..100).for_each(|_| _ = health.answered(Duration::from_micros(50), 2));
        assert_eq!(health.patience(), HEDGE.0);
    }
}
