//! Lines in the log at a bounded rate.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many lines are written at once, and how often one more.
const BURST: u32 = 10;
const EVERY: Duration = Duration::from_secs(1);

/// Says which lines are written, and counts those that would be too many.
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
    /// Nothing was written so far.
    pub(crate) fn new(now: Instant) -> Self {
        Self { state: Mutex::new(State { left: BURST, since: now, suppressed: 0 }) }
    }

    /// Whether a line may be written now, and how many were not before it.
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
    fn lines_are_few_and_tell_how_many_there_were_not() {
        let now = Instant::now();
        let rate = LogRate::new(now);
        let written = (0..1000).filter(|_| rate.admit(now).is_some()).count();
        assert_eq!(written, BURST as usize);
        assert_eq!(rate.admit(now + EVERY), Some(1000 - u64::from(BURST)));
        assert_eq!(rate.admit(now + EVERY), None);
    }
}
