//! Whether the node can do its work: its runtime answers, the pod network stands, its link to the others is up.
//!
//! The runtime is asked every few seconds, as nothing tells that a program has stopped answering. A silence has two
//! ends: after [`SILENCE`] the node is not ready, and with the next answer workers compare what they know with it.

use std::time::Duration;

use jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::cri::{
    self,
    messages::{RuntimeStatus, StatusRequest},
};

/// A runtime that has not answered for this long is down.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);
/// How often a runtime that is well is asked (the kubelet's `updateRuntimeUp`).
const PERIOD: Duration = Duration::from_secs(5);
/// How soon a runtime that did not answer is asked again.
const AGAIN: Duration = Duration::from_millis(200);
/// How soon one is asked again that says that it is not ready: it reads its network's configuration in a moment.
const NOT_YET: Duration = Duration::from_millis(20);
/// For so long that is expected; afterwards it is asked every [`LATER`].
const BEGINNING: Duration = Duration::from_secs(30);
/// How often a runtime is asked that is not ready for long.
const LATER: Duration = Duration::from_secs(1);
/// An answer that took longer than this ends a silence, too: events may be late.
const SLOW: Duration = Duration::from_secs(2);
/// The least time for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// What keeps the node from working; nothing when it is ready.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Health {
    /// What is wrong with the container runtime.
    pub(crate) runtime: Option<String>,
    /// What is wrong with the link to the other nodes.
    pub(crate) link: Option<String>,
}

impl Default for Health {
    /// Nobody has looked.
    fn default() -> Self {
        Self { runtime: Some("the container runtime has not been asked yet".into()), link: None }
    }
}

impl Health {
    /// Whether the node is ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.runtime.is_none() && self.link.is_none()
    }

    /// Everything that is wrong, in one line.
    pub(crate) fn problems(&self) -> Option<String> {
        let all: Vec<&str> = [&self.link, &self.runtime].into_iter().flatten().map(String::as_str).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// Follows the health of the runtime for ever. `compare` is called when a silence has ended.
pub(crate) async fn watch_runtime(runtime: cri::Client, health: &watch::Sender<Health>, compare: impl Fn()) {
    let begun = Instant::now();
    let (mut heard, mut heard_at) = (begun, Timestamp::now());
    let mut silent = false;
    loop {
        let asked = Instant::now();
        let left = (heard + SILENCE).saturating_duration_since(asked).max(PATIENCE);
        let answer = timeout(left, runtime.status(StatusRequest { verbose: false })).await;
        let again = if let Ok(Ok(answer)) = answer {
            let was_silent = silent || asked.elapsed() > SLOW;
            (heard, heard_at, silent) = (Instant::now(), Timestamp::now(), false);
            let problem = complaints(&answer.status.unwrap_or_default());
            let again = match &problem {
                None => PERIOD,
                Some(_) if begun.elapsed() < BEGINNING => NOT_YET,
                Some(_) => LATER,
            };
            set(health, problem);
            if was_silent {
                tracing::info!("the container runtime answers again");
                compare();
            }
            again
        } else {
            silent = true;
            if heard.elapsed() >= SILENCE {
                set(health, Some(down_since(heard_at)));
            }
            AGAIN
        };
        sleep(again).await;
    }
}

fn set(health: &watch::Sender<Health>, runtime: Option<String>) {
    health.send_if_modified(|health| {
        let changed = health.runtime != runtime;
        if changed && let Some(problem) = &runtime {
            tracing::warn!("{problem}");
        }
        health.runtime = runtime;
        changed
    });
}

fn down_since(heard: Timestamp) -> String {
    format!("container runtime is down: it has not answered since {}", heard.strftime("%Y-%m-%dT%H:%M:%SZ"))
}

/// What the runtime says against itself, in the kubelet's words.
fn complaints(status: &RuntimeStatus) -> Option<String> {
    let condition = |name: &str, what: &str| {
        let found = status.conditions.iter().find(|condition| condition.r#type == name);
        let (ready, reason, message) = found.map_or((false, "", ""), |condition| {
            (condition.status, condition.reason.as_str(), condition.message.as_str())
        });
        (!ready).then(|| format!("{what} not ready: {name}=false reason:{reason} message:{message}"))
    };
    let runtime = condition("RuntimeReady", "container runtime");
    let all = [runtime, condition("NetworkReady", "container runtime network")];
    let all: Vec<String> = all.into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cri::messages::RuntimeCondition;

    fn status(network: bool) -> RuntimeStatus {
        let condition = |name: &str, status| RuntimeCondition {
            r#type: name.into(),
            status,
            reason: if status { "" } else { "NetworkPluginNotReady" }.into(),
            message: if status { "" } else { "no plugin" }.into(),
        };
        RuntimeStatus {
            conditions: vec![condition("RuntimeReady", true), condition("NetworkReady", network)],
        }
    }

    #[test]
    fn a_runtime_is_well_when_both_of_its_conditions_are_there_and_true() {
        assert_eq!(complaints(&status(true)), None);
        let network = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady \
                       message:no plugin";
        assert_eq!(complaints(&status(false)).as_deref(), Some(network));
        assert!(complaints(&RuntimeStatus::default()).unwrap().starts_with("container runtime not ready"));
    }

    #[test]
    fn a_node_is_ready_when_nothing_is_wrong_and_says_all_that_is() {
        assert!(!Health::default().is_ready());
        let well = Health { runtime: None, link: None };
        assert!(well.is_ready() && well.problems().is_none());
        let ill = Health { runtime: Some("b".into()), link: Some("a".into()) };
        assert_eq!(ill.problems().as_deref(), Some("a; b"));
    }
}
