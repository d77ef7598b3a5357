//! Pods: one word for what all their containers do.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, NONE, age, column, name, since, text_or, wide};
use crate::meta;

pub(super) const POD: &[Column] = &[
    NAME,
    column("Ready", "string", "How many of the containers are ready."),
    column("Status", "string", "What the pod does, or why it does not run."),
    column("Restarts", "string", "How often containers were restarted, and when last."),
    AGE,
    wide("IP", "string", "The address of the pod."),
    wide("Node", "string", "The node that the pod runs on."),
    wide("Nominated Node", "string", "The node on which room is being made for the pod."),
    wide("Readiness Gates", "string", "How many of the further conditions for readiness hold."),
];

pub(super) fn pod(object: &Value, now: Timestamp) -> Vec<Value> {
    let summary = Summary::of(object);
    let restarts = match (summary.restarts, &summary.last_restart) {
        (0, _) | (_, None) => summary.restarts.to_string(),
        (many, Some(last)) => format!("{many} ({} ago)", since(&json!(last), now)),
    };
    vec![
        name(object),
        json!(format!("{}/{}", summary.ready, summary.total)),
        json!(summary.reason),
        json!(restarts),
        age(object, now),
        text_or(object, &["status", "podIP"], NONE),
        text_or(object, &["spec", "nodeName"], NONE),
        text_or(object, &["status", "nominatedNodeName"], NONE),
        json!(readiness_gates(object)),
    ]
}

/// A pod in a few words.
struct Summary {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    /// When a container last ended before it was restarted, RFC 3339.
    last_restart: Option<String>,
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let status = &pod["status"];
        let phase = meta::text(status, &["phase"]);
        let gated = condition(status, "PodScheduled").is_some_and(|one| one["reason"] == "SchedulingGated");
        let reason = match meta::text(status, &["reason"]) {
            _ if gated => "SchedulingGated",
            "" => phase,
            reason => reason,
        };
        let sidecars =
            meta::list(pod, &["spec", "initContainers"]).iter().filter(|one| is_sidecar(one)).count();
        let mut summary = Self {
            reason: reason.to_owned(),
            ready: 0,
            total: meta::list(pod, &["spec", "containers"]).len() + sidecars,
            restarts: 0,
            last_restart: None,
        };
        let initializing = summary.initialize(pod);
        if !initializing || is_true(status, "Initialized") {
            summary.run(pod);
        }
        if !meta::deletion_timestamp(pod).is_empty() {
            if status["reason"] == "NodeLost" {
                "Unknown".clone_into(&mut summary.reason);
            } else if !matches!(phase, "Succeeded" | "Failed") {
                "Terminating".clone_into(&mut summary.reason);
            }
        }
        summary
    }

    /// Goes through the init containers; whether one of them is still to finish.
    fn initialize(&mut self, pod: &Value) -> bool {
        let specs = meta::list(pod, &["spec", "initContainers"]);
        let sidecars = sidecars(specs);
        for (at, container) in meta::list(pod, &["status", "initContainerStatuses"]).iter().enumerate() {
            self.count_restarts(container);
            let (terminated, waiting) = (&container["state"]["terminated"], &container["state"]["waiting"]);
            let sidecar = sidecars.contains(&container["name"]);
            if !terminated.is_null() && terminated["exitCode"] == 0 {
                continue;
            }
            if sidecar && container["started"] == true {
                self.ready += usize::from(container["ready"] == true);
                continue;
            }
            let why = meta::text(waiting, &["reason"]);
            self.reason = if !terminated.is_null() {
                format!("Init:{}", ended(terminated))
            } else if !why.is_empty() && why != "PodInitializing" {
                format!("Init:{why}")
            } else {
                format!("Init:{at}/{}", specs.len())
            };
            return true;
        }
        false
    }

    /// Goes through the containers, the last first, so that the first has the last word.
    fn run(&mut self, pod: &Value) {
        let sidecars = sidecars(meta::list(pod, &["spec", "initContainers"]));
        (self.restarts, self.last_restart) = (0, None);
        for container in meta::list(pod, &["status", "initContainerStatuses"]) {
            if sidecars.contains(&container["name"]) {
                self.count_restarts(container);
            }
        }
        let mut running = false;
        for container in meta::list(pod, &["status", "containerStatuses"]).iter().rev() {
            self.count_restarts(container);
            let state = &container["state"];
            let waiting = meta::text(state, &["waiting", "reason"]);
            if !waiting.is_empty() {
                waiting.clone_into(&mut self.reason);
            } else if !state["terminated"].is_null() {
                self.reason = ended(&state["terminated"]);
            } else if container["ready"] == true && !state["running"].is_null() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            let reason = if is_true(&pod["status"], "Ready") { "Running" } else { "NotReady" };
            reason.clone_into(&mut self.reason);
        }
    }

    fn count_restarts(&mut self, container: &Value) {
        self.restarts += container["restartCount"].as_i64().unwrap_or(0);
        if let Some(finished) = container["lastState"]["terminated"]["finishedAt"].as_str() {
            // Times are in one form and zone, so the later is the greater text.
            self.last_restart = self.last_restart.take().max(Some(finished.to_owned()));
        }
    }
}

/// Why a container ended.
fn ended(terminated: &Value) -> String {
    let signal = terminated["signal"].as_i64().unwrap_or(0);
    match meta::text(terminated, &["reason"]) {
        "" if signal != 0 => format!("Signal:{signal}"),
        "" => format!("ExitCode:{}", terminated["exitCode"].as_i64().unwrap_or(0)),
        reason => reason.to_owned(),
    }
}

/// The names of the init containers that go on running.
fn sidecars(specs: &[Value]) -> HashSet<&Value> {
    specs.iter().filter(|spec| is_sidecar(spec)).map(|spec| &spec["name"]).collect()
}

/// An init container that runs on beside the others (KEP-753).
fn is_sidecar(spec: &Value) -> bool {
    spec["restartPolicy"] == "Always"
}

fn condition<'a>(status: &'a Value, name: &str) -> Option<&'a Value> {
    meta::list(status, &["conditions"]).iter().find(|one| one["type"] == name)
}

fn is_true(status: &Value, name: &str) -> bool {
    condition(status, name).is_some_and(|one| one["status"] == "True")
}

fn readiness_gates(pod: &Value) -> String {
    let gates = meta::list(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let open = gates.iter().filter(|gate| is_true(&pod["status"], meta::text(gate, &["conditionType"])));
    format!("{}/{}", open.count(), gates.len())
}
