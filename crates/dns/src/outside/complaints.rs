//! Failures in the log (`errors`), at a bounded rate.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::forward::Question;
use crate::wire::rcode;

/// How many lines are written at once, and how often one more.
const BURST: u32 = 10;
const EVERY: Duration = Duration::from_secs(1);

/// Writes of failures, and only counts what would be too many lines.
#[derive(Debug)]
pub(super) struct Complaints {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    left: u32,
    since: Instant,
    suppressed: u64,
}

impl Complaints {
    /// Nothing was written so far.
    pub(super) fn new(now: Instant) -> Self {
        Self { state: Mutex::new(State { left: BURST, since: now, suppressed: 0 }) }
    }

    /// Writes that a question could not be answered with anything else than this code, and why.
    pub(super) fn failed(&self, question: &Question, code: u16, why: &str) {
        let Some(suppressed) = self.admit(Instant::now()) else { return };
        let code = rcode::name(code).unwrap_or("failure");
        tracing::error!(suppressed, "{code} {question}: {why}");
    }

    /// Whether a line may be written, and how many were not before it.
    fn admit(&self, now: Instant) -> Option<u64> {
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
        let complaints = Complaints::new(now);
        let written = (0..1000).filter(|_| complaints.admit(now).is_some()).count();
        assert_eq!(written, BURST as usize);
        assert_eq!(complaints.admit(now + EVERY), Some(1000 - u64::from(BURST)));
        assert_eq!(complaints.admit(now + EVERY), None);
    }
}
