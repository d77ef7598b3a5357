//! Failures in the log (`errors`).

use std::time::Instant;

use crate::log_rate::LogRate;
use crate::wire::{Question, rcode};

/// Writes of failures, and only counts what would be too many lines.
#[derive(Debug)]
pub(super) struct FailureLog(LogRate);

impl FailureLog {
    /// Nothing was written so far.
    pub(super) fn new(now: Instant) -> Self {
        Self(LogRate::new(now))
    }

    /// Writes that a question could not be answered with anything else than this code, and why.
    pub(super) fn failed(&self, question: &Question, code: u16, why: &str) {
        let Some(suppressed) = self.0.admit(Instant::now()) else { return };
        let code = rcode::name(code).unwrap_or("failure");
        tracing::error!(suppressed, "{code} {question}: {why}");
    }
}
