//! When something that failed may be tried again.

use std::time::Duration;

use jiff::Timestamp;

/// The first delay; the kubelet's.
const FIRST: Duration = Duration::from_secs(10);
/// No delay is longer.
const LONGEST: Duration = Duration::from_secs(300);
/// After this long without failure the next one counts as the first.
const FORGET: Duration = Duration::from_secs(600);

/// The delays of one container or image: none before the first retry, then 10 s, doubling to 5 minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Backoff {
    delay: Duration,
    retried: Option<Timestamp>,
}

impl Backoff {
    /// When to try again after a failure at `failed`.
    pub(super) fn retry_at(&self, failed: Timestamp) -> Timestamp {
        failed.saturating_add(self.delay_after(failed)).unwrap_or(Timestamp::MAX)
    }

    /// Notes that the retry after the failure at `failed` is happening.
    pub(super) fn retried(&mut self, failed: Timestamp) {
        let delay = self.delay_after(failed);
        self.delay = if delay.is_zero() { FIRST } else { (delay * 2).min(LONGEST) };
        self.retried = Some(failed);
    }

    /// The delay that a failure at `failed` brings.
    pub(super) fn delay_after(&self, failed: Timestamp) -> Duration {
        let long_ago = |last: Timestamp| failed.duration_since(last).unsigned_abs() > FORGET;
        if self.retried.is_some_and(long_ago) { Duration::ZERO } else { self.delay }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_first_restart_is_immediate_then_delays_double_to_five_minutes() {
        let mut backoff = Backoff::default();
        let mut delays = Vec::new();
        for _ in 0..8 {
            delays.push(backoff.delay_after(at(100)).as_secs());
            backoff.retried(at(100));
        }
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_run_of_more_than_ten_minutes_resets_the_delay() {
        let mut backoff = Backoff::default();
        backoff.retried(at(0));
        backoff.retried(at(30));
        assert_eq!(backoff.delay_after(at(630)).as_secs(), 20);
        assert_eq!(backoff.delay_after(at(631)).as_secs(), 0);
    }
}
