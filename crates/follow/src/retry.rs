//! Pauses between tries to reach an API server.

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// Pauses that double from 50 ms to two seconds: short enough that a restart of an API server is hardly noticed.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    failures: u32,
}

impl Retry {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(2);
}

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = Self::FIRST.saturating_mul(1 << self.failures.min(16)).min(Self::LONGEST);
        self.failures = self.failures.saturating_add(1);
        Some(pause)
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_become_rarer_and_start_over_after_success() {
        let mut retry = Retry::default();
        let pauses: Vec<_> = retry.by_ref().take(30).collect();
        assert!(pauses.is_sorted() && pauses[29] == Retry::LONGEST);
        retry.reset();
        assert_eq!(retry.next(), Some(Retry::FIRST));
    }
}
