//! Whether the rules are up to date, as `/healthz` and `/livez` tell it (KEP-3836).

use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};

/// What load balancers and the node's watchdog may know of the proxy.
#[derive(Debug)]
pub(crate) struct Health {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How long rules may be out of date.
    patience: Duration,
    /// When rules were last programmed.
    updated: Option<Timestamp>,
    /// Since when a change waits.
    waiting: Option<Instant>,
    /// Whether the Node is there, not being deleted, and not marked for it.
    eligible: bool,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// Should a load balancer send anything here (`/healthz`)?
    Healthz,
    /// Does the proxy work (`/livez`)?
    Livez,
}

impl Health {
    /// Rules that are out of date for twice the sync period make the proxy unhealthy.
    pub(crate) fn new(sync_period: Duration) -> Self {
        let health = Self { state: Mutex::default() };
        health.set_sync_period(sync_period);
        health
    }

    /// Another sync period was configured.
    pub(crate) fn set_sync_period(&self, sync_period: Duration) {
        self.state().patience = sync_period.saturating_mul(2);
    }

    /// A change came that is not programmed yet.
    pub(crate) fn waits(&self) {
        self.state().waiting.get_or_insert_with(Instant::now);
    }

    /// All changes are programmed.
    pub(crate) fn updated(&self) {
        let mut state = self.state();
        state.waiting = None;
        state.updated = Some(Timestamp::now());
    }

    /// The Node said whether it may get new connections.
    pub(crate) fn node_is(&self, eligible: bool) {
        self.state().eligible = eligible;
    }

    /// Whether the rules are up to date or became outdated just now.
    pub(crate) fn healthy(&self) -> bool {
        self.state().healthy()
    }

    /// The answer and its body.
    pub(crate) fn answer(&self, question: Question) -> (bool, Value) {
        let state = self.state();
        let healthy = state.healthy();
        let now = Timestamp::now();
        let good = healthy && (question == Question::Livez || state.eligible);
        let updated =
            state.updated.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |time| time.to_string());
        // A healthy proxy is up to date now, whenever the last change was.
        let shown = if good { now.to_string() } else { updated.clone() };
        let family = json!({"lastUpdated": updated, "healthy": healthy});
        let status = match state.updated {
            Some(_) => json!({"IPv4": family, "IPv6": family}),
            None => json!({}),
        };
        let mut body = json!({"lastUpdated": shown, "currentTime": now.to_string(), "healthy": healthy, "status": status});
        if question == Question::Healthz {
            body["nodeEligible"] = state.eligible.into();
        }
        (good, body)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn healthy(&self) -> bool {
        // While it starts up nothing is late.
        self.updated.is_none() || self.waiting.is_none_or(|since| since.elapsed() < self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_healthz_asks_for_the_node() {
        let health = Health::new(Duration::from_secs(30));
        health.updated();
        assert!(!health.answer(Question::Healthz).0 && health.answer(Question::Livez).0);
        health.node_is(true);
        let (good, body) = health.answer(Question::Healthz);
        assert!(good && body["nodeEligible"] == true && body["status"]["IPv4"]["healthy"] == true);
        assert!(health.answer(Question::Livez).1.get("nodeEligible").is_none());
    }

    #[test]
    fn a_change_that_waits_too_long_is_unhealthy_until_it_is_programmed() {
        let health = Health::new(Duration::ZERO);
        health.waits();
        assert!(health.healthy(), "it is starting up");
        health.updated();
        assert!(health.healthy());
        health.waits();
        assert!(!health.healthy() && !health.answer(Question::Livez).0);
        health.updated();
        assert!(health.healthy());
    }
}
