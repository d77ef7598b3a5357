//! Failures in the log (directive `errors`).

use std::time::Instant;

use crate::log_rate::LogRate;
use crate::wire::{Question, rcode};

/// Logs failures at a bounded rate.
#[derive(Debug)]
pub(super) struct FailureLog(LogRate);

impl FailureLog {
    /// A log without lines yet.
    pub(super) fn new(now: Instant) -> Self {
        Self(LogRate::new(now))
    }

    /// Logs that a question was answered with a failure, and why.
    pub(super) fn failed(&self, question: &Question, code: u16, why: &str) {
        let Some(suppressed) = self.0.admit(Instant::now()) else { return };
        let code = rcode::name(code).unwrap_or("failure");
        tracing::error!(suppressed, "{code} {question}: {why}");
    }
}
