//! A bound on the rate of lines in the log.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many lines may be written at once; after that one more in each interval.
const BURST: u32 = 10;
const EVERY: Duration = Duration::from_secs(1);

/// Decides which lines are written, and counts the others.
#[derive(Debug)]
pub(crate) struct LogRate {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    left: u32,
    since: Instant,
    suppressed: u64,
}

impl LogRate {
    /// A bound for lines of which none was written yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { state: Mutex::new(State { left: BURST, since: now, suppressed: 0 }) }
    }

    /// Decides whether a line may be written now: `None` if not, otherwise the number of lines suppressed since the
    /// last one that was written.
    pub(crate) fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(state.since).as_secs() / EVERY.as_secs();
        if passed > 0 {
            state.left = state.left.saturating_add(u32::try_from(passed).unwrap_or(BURST)).min(BURST);
            state.since = now;
        }
        match state.left.checked_sub(1) {
            Some(left) => {
                state.left = left;
                Some(std::mem::take(&mut state.suppressed))
            }
            None => {
                state.suppressed += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_above_the_rate_are_suppressed_and_counted() {
        let now = Instant::now();
        let rate = LogRate::new(now);
        let written = (0..1000).filter(|_| rate.admit(now).is_some()).count();
        assert_eq!(written, BURST as usize);
        assert_eq!(rate.admit(now + EVERY), Some(1000 - u64::from(BURST)));
        assert_eq!(rate.admit(now + EVERY), None);
    }
}
