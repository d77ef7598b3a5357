//! The status of a pod: a pure function of its specification and of what is known about its containers.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodSpec, PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    observed::{Ended, Observed, Run, State},
    plan::{self, Init, Memories, Memory},
};

/// What a status is made of, besides the pod and the runtime's view.
#[derive(Clone, Debug)]
pub(super) struct Circumstances<'a> {
    pub(super) memories: &'a Memories,
    /// The node's address.
    pub(super) host_ip: IpAddr,
    /// `containerd`: the scheme of container ids.
    pub(super) runtime_name: &'a str,
    pub(super) now: Timestamp,
    /// Whether the pod is being stopped for good: containers that have not run will not.
    pub(super) stopping: bool,
    /// Whether the pod has been active for longer than it may.
    pub(super) expired: bool,
}

/// Why a pod failed that was active for too long.
pub(super) const DEADLINE_EXCEEDED: (&str, &str) =
    ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline");

/// The status to report. Conditions keep their transition times from `pod.status` where they did not change,
/// and conditions of others are kept as they are.
pub(super) fn status(pod: &Pod, observed: &Observed, around: &Circumstances<'_>) -> PodStatus {
    let old = pod.status.clone().unwrap_or_default();
    let Some(spec) = &pod.spec else { return old };
    let init_state = plan::init(spec, observed, around.memories);
    let init_statuses: Vec<ContainerStatus> = spec
        .init_containers
        .iter()
        .flatten()
        .map(|container| container_status(container, observed, around, "PodInitializing", true))
        .collect();
    let waiting = if init_statuses.is_empty() || init_state == Init::Done {
        "ContainerCreating"
    } else {
        "PodInitializing"
    };
    let statuses: Vec<ContainerStatus> = spec
        .containers
        .iter()
        .map(|container| container_status(container, observed, around, waiting, false))
        .collect();
    let text = |text: &str| Some(text.to_owned());
    let (phase, reason, message) = match &old.phase {
        // A pod that is over stays so, whatever is left of its containers.
        Some(over) if plan::is_over(pod) => (over.as_str(), old.reason.clone(), old.message.clone()),
        _ if around.expired && observed.running().next().is_none() => {
            ("Failed", text(DEADLINE_EXCEEDED.0), text(DEADLINE_EXCEEDED.1))
        }
        _ => (phase(spec, observed, around), None, None),
    };
    let conditions = conditions(pod, &old, phase, observed, around, init_state, &statuses);
    let ips: Vec<IpAddr> = match spec.host_network {
        Some(true) => vec![around.host_ip],
        _ => observed.ips().to_vec(),
    };
    PodStatus {
        phase: Some(phase.into()),
        reason,
        message,
        conditions: Some(conditions),
        host_ip: Some(around.host_ip.to_string()),
        host_ips: Some(vec![HostIP { ip: around.host_ip.to_string() }]),
        pod_ip: ips.first().map(ToString::to_string).or(old.pod_ip),
        pod_ips: if ips.is_empty() {
            old.pod_ips
        } else {
            Some(ips.iter().map(|ip| PodIP { ip: ip.to_string() }).collect())
        },
        start_time: old.start_time.or(Some(Time(around.now))),
        init_container_statuses: (!init_statuses.is_empty()).then_some(init_statuses),
        container_statuses: Some(statuses),
        qos_class: old.qos_class,
        ..Default::default()
    }
}

/// Pending, Running, Succeeded or Failed.
fn phase(spec: &PodSpec, observed: &Observed, around: &Circumstances<'_>) -> &'static str {
    let runs: Vec<Option<&Run>> =
        spec.containers.iter().map(|container| observed.current(&container.name)).collect();
    let over = plan::is_finished(spec, observed, around.memories)
        || around.stopping && runs.iter().all(|run| run.is_none_or(|run| run.ended().is_some()));
    if over {
        let all_well =
            runs.iter().all(|run| run.and_then(|run| run.ended()).is_some_and(|ended| ended.code == 0));
        return if all_well { "Succeeded" } else { "Failed" };
    }
    // A container that waits for its first start keeps the pod pending; one that restarts does not.
    if runs.iter().all(|run| run.is_some_and(|run| run.state != State::Created)) {
        "Running"
    } else {
        "Pending"
    }
}

fn container_status(
    container: &Container,
    observed: &Observed,
    around: &Circumstances<'_>,
    waiting: &str,
    init: bool,
) -> ContainerStatus {
    let run = observed.current(&container.name);
    let none = Memory::default();
    let memory = around.memories.get(&container.name).unwrap_or(&none);
    let id = |run: &Run| format!("{}://{}", around.runtime_name, run.id);
    let wait = |reason: &str, message: Option<String>| ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.into()), message }),
        ..Default::default()
    };
    let terminated = |run: &Run, ended: &Ended| ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: Some(id(run)),
            exit_code: ended.code,
            reason: Some(ended.reason.clone()),
            message: Some(ended.message.clone()).filter(|message| !message.is_empty()),
            started_at: Some(Time(plan::time(ended.started))),
            finished_at: Some(Time(plan::time(ended.finished))),
            signal: None,
        }),
        ..Default::default()
    };
    let mut last = observed
        .previous(&container.name)
        .and_then(|previous| previous.ended().map(|ended| terminated(previous, ended)));
    let state = match run.map(|run| (run, &run.state)) {
        Some((_, State::Running { started })) => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(Time(plan::time(*started))) }),
            ..Default::default()
        },
        Some((run, State::Exited(ended))) => {
            let blocked = memory.obstacle.as_ref().filter(|_| !around.stopping);
            let delay = memory.restarts.delay_after(plan::time(ended.finished));
            let will_restart =
                !around.stopping && memory.restarts.retry_at(plan::time(ended.finished)) > around.now;
            match blocked {
                Some(obstacle) => {
                    last = Some(terminated(run, ended));
                    wait(obstacle.reason, Some(obstacle.message.clone()))
                }
                None if will_restart && restartable(container, init, ended) => {
                    last = Some(terminated(run, ended));
                    let message = format!(
                        "back-off {}s restarting failed container={}",
                        delay.as_secs(),
                        container.name
                    );
                    wait("CrashLoopBackOff", Some(message))
                }
                None => terminated(run, ended),
            }
        }
        Some((_, State::Created)) | None => match &memory.obstacle {
            Some(obstacle) => wait(obstacle.reason, Some(obstacle.message.clone())),
            None => wait(waiting, None),
        },
    };
    let running = state.running.is_some();
    let completed = run.and_then(|run| run.ended()).is_some_and(|ended| ended.code == 0);
    let ready = if init && !plan::is_sidecar(container) {
        completed
    } else {
        running && memory.started && (memory.ready || container.readiness_probe.is_none())
    };
    ContainerStatus {
        name: container.name.clone(),
        state: Some(state),
        last_state: Some(last.unwrap_or_default()),
        ready,
        started: Some(running && memory.started),
        restart_count: run.map_or(0, |run| i32::try_from(run.attempt).unwrap_or(i32::MAX)),
        image: run.map(|run| run.image.clone()).or_else(|| container.image.clone()).unwrap_or_default(),
        image_id: run.map(|run| run.image_ref.clone()).unwrap_or_default(),
        container_id: run.map(id),
        ..Default::default()
    }
}

/// Whether an ended container with a pending delay is one that will start again.
fn restartable(container: &Container, init: bool, ended: &Ended) -> bool {
    !init || plan::is_sidecar(container) || ended.code != 0
}

fn conditions(
    pod: &Pod,
    old: &PodStatus,
    phase: &str,
    observed: &Observed,
    around: &Circumstances<'_>,
    init: Init,
    statuses: &[ContainerStatus],
) -> Vec<PodCondition> {
    let old = old.conditions.clone().unwrap_or_default();
    let is_over = around.expired || matches!(phase, "Succeeded" | "Failed");
    let over_reason = if phase == "Succeeded" { "PodCompleted" } else { "PodFailed" };
    let unready = |names: Vec<&str>, what: &str| {
        (!names.is_empty()).then(|| format!("containers with {what} status: [{}]", names.join(" ")))
    };
    let not_ready: Vec<&str> =
        statuses.iter().filter(|status| !status.ready).map(|status| status.name.as_str()).collect();
    let gate_closed = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten()).find(|gate| {
        !old.iter().any(|condition| condition.type_ == gate.condition_type && condition.status == "True")
    });
    let containers_ready = if is_over {
        (false, Some(over_reason), None)
    } else {
        let message = unready(not_ready, "unready");
        (message.is_none(), message.as_ref().map(|_| "ContainersNotReady"), message)
    };
    let ready = match gate_closed {
        Some(gate) if containers_ready.0 => {
            let message = format!(
                "corresponding condition of pod readiness gate \"{}\" does not exist or is not True.",
                gate.condition_type
            );
            (false, Some("ReadinessGatesNotReady"), Some(message))
        }
        _ => containers_ready.clone(),
    };
    let initialized = if init == Init::Done {
        (true, (phase == "Succeeded").then_some("PodCompleted"), None)
    } else {
        let names = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        let names = names.filter(|container| {
            observed.current(&container.name).and_then(|run| run.ended()).is_none_or(|ended| ended.code != 0)
        });
        let names = names.map(|container| container.name.as_str()).collect();
        (false, Some("ContainersNotInitialized"), unready(names, "incomplete"))
    };
    let own = [
        ("PodReadyToStartContainers", (observed.sandbox_ready(), None, None)),
        ("Initialized", initialized),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
        ("PodScheduled", (true, None, None)),
    ];
    let mut conditions: Vec<PodCondition> = Vec::with_capacity(own.len());
    for (type_, (holds, reason, message)) in own {
        let status = if holds { "True" } else { "False" };
        let before = old.iter().find(|condition| condition.type_ == type_ && condition.status == status);
        conditions.push(PodCondition {
            type_: type_.into(),
            status: status.into(),
            reason: reason.map(str::to_owned),
            message,
            last_transition_time: before
                .and_then(|condition| condition.last_transition_time.clone())
                .or(Some(Time(around.now))),
            ..Default::default()
        });
    }
    conditions.extend(old.into_iter().filter(|condition| !is_own(condition)));
    conditions
}

/// Whether a condition is one that this node writes.
pub(super) fn is_own(condition: &PodCondition) -> bool {
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
        .contains(&condition.type_.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pod::{
        backoff::Backoff,
        observed::tests::{ended, observed},
        plan::Obstacle,
    };

    const RUNNING: State = State::Running { started: 0 };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn around(memories: &Memories) -> Circumstances<'_> {
        Circumstances {
            memories,
            host_ip: [192, 0, 2, 1].into(),
            runtime_name: "containerd",
            now: at(200),
            stopping: false,
            expired: false,
        }
    }

    fn pod() -> Pod {
        let spec = json!({"containers": [{"name": "a", "image": "httpd"}], "restartPolicy": "Always"});
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn started() -> Memories {
        Memories::from([("a".to_owned(), Memory { started: true, ..Default::default() })])
    }

    fn condition<'a>(status: &'a PodStatus, type_: &str) -> &'a PodCondition {
        status.conditions.as_ref().unwrap().iter().find(|condition| condition.type_ == type_).unwrap()
    }

    #[test]
    fn a_running_container_without_readiness_probe_makes_the_pod_ready() {
        let memories = started();
        let status = status(&pod(), &observed(&[("a", &[RUNNING])]), &around(&memories));
        assert_eq!(status.phase.as_deref(), Some("Running"));
        assert_eq!(condition(&status, "Ready").status, "True");
        assert_eq!(status.pod_ip.as_deref(), Some("10.244.0.2"));
        let container = &status.container_statuses.unwrap()[0];
        assert!(container.ready);
        assert_eq!(container.container_id.as_deref(), Some("containerd://c0"));
    }

    #[test]
    fn a_readiness_probe_keeps_it_unready_until_it_succeeds() {
        let mut pod = pod();
        pod.spec.as_mut().unwrap().containers[0].readiness_probe = Some(Default::default());
        let mut memories = started();
        let seen = observed(&[("a", &[RUNNING])]);
        let before = status(&pod, &seen, &around(&memories));
        assert_eq!(condition(&before, "Ready").reason.as_deref(), Some("ContainersNotReady"));
        assert_eq!(
            condition(&before, "Ready").message.as_deref(),
            Some("containers with unready status: [a]")
        );
        memories.get_mut("a").unwrap().ready = true;
        assert_eq!(condition(&status(&pod, &seen, &around(&memories)), "Ready").status, "True");
    }

    #[test]
    fn a_transition_time_changes_only_with_the_status() {
        let memories = started();
        let mut pod = pod();
        let seen = observed(&[("a", &[RUNNING])]);
        pod.status = Some(status(&pod, &seen, &around(&memories)));
        let later = Circumstances { now: at(300), ..around(&memories) };
        let unchanged = status(&pod, &seen, &later);
        assert_eq!(Some(&unchanged), pod.status.as_ref());
        let changed = status(&pod, &observed(&[("a", &[ended(1, 250)])]), &later);
        assert_eq!(condition(&changed, "Ready").last_transition_time, Some(Time(at(300))));
    }

    #[test]
    fn a_crash_loop_waits_with_the_last_end_in_its_last_state() {
        let mut memories = started();
        memories.get_mut("a").unwrap().restarts.retried(at(190));
        let status = status(&pod(), &observed(&[("a", &[RUNNING, ended(3, 195)])]), &around(&memories));
        let container = &status.container_statuses.as_ref().unwrap()[0];
        let waiting = container.state.as_ref().unwrap().waiting.as_ref().unwrap();
        assert_eq!(waiting.reason.as_deref(), Some("CrashLoopBackOff"));
        let last = container.last_state.as_ref().unwrap().terminated.as_ref().unwrap();
        assert_eq!((last.exit_code, container.restart_count), (3, 1));
        assert_eq!(status.phase.as_deref(), Some("Running"));
    }

    #[test]
    fn an_image_that_cannot_be_pulled_keeps_the_pod_pending() {
        let mut memories = Memories::new();
        let obstacle = Obstacle {
            reason: "ErrImagePull",
            message: "no".into(),
            retry_at: at(300),
            tries: Backoff::default(),
        };
        memories.insert("a".into(), Memory { obstacle: Some(obstacle), ..Default::default() });
        let status = status(&pod(), &observed(&[]), &around(&memories));
        assert_eq!(status.phase.as_deref(), Some("Pending"));
        let container = &status.container_statuses.unwrap()[0];
        let waiting = container.state.as_ref().unwrap().waiting.as_ref().unwrap();
        assert_eq!(waiting.reason.as_deref(), Some("ErrImagePull"));
    }

    #[test]
    fn ended_pods_succeed_or_fail_by_their_exit_codes() {
        let mut pod = pod();
        pod.spec.as_mut().unwrap().restart_policy = Some("Never".into());
        let memories = started();
        let of = |code| status(&pod, &observed(&[("a", &[ended(code, 1)])]), &around(&memories));
        assert_eq!(of(0).phase.as_deref(), Some("Succeeded"));
        assert_eq!(condition(&of(0), "Ready").reason.as_deref(), Some("PodCompleted"));
        assert_eq!(of(1).phase.as_deref(), Some("Failed"));
    }

    #[test]
    fn a_pod_that_was_active_for_too_long_has_failed_once_its_containers_have_ended() {
        let memories = started();
        let late = Circumstances { expired: true, ..around(&memories) };
        let ending = status(&pod(), &observed(&[("a", &[RUNNING])]), &late);
        assert_eq!((ending.phase.as_deref(), ending.reason), (Some("Running"), None));
        assert_eq!(
            ending.conditions.unwrap().iter().find(|one| one.type_ == "Ready").unwrap().status,
            "False"
        );
        let mut pod = pod();
        let over = status(&pod, &observed(&[("a", &[ended(137, 1)])]), &late);
        assert_eq!(
            (over.phase.as_deref(), over.reason.as_deref()),
            (Some("Failed"), Some("DeadlineExceeded"))
        );
        // Another agent finds it so: its restart policy does not bring it back.
        pod.status = Some(over.clone());
        assert_eq!(
            status(&pod, &observed(&[("a", &[ended(137, 1)])]), &around(&memories)).reason,
            over.reason
        );
    }

    #[test]
    fn conditions_of_others_are_kept_and_gates_hold_readiness_back() {
        let memories = started();
        let mut pod = pod();
        pod.spec.as_mut().unwrap().readiness_gates =
            serde_json::from_value(json!([{"conditionType": "example.org/lb"}])).unwrap();
        let seen = observed(&[("a", &[RUNNING])]);
        let closed = status(&pod, &seen, &around(&memories));
        assert_eq!(condition(&closed, "Ready").status, "False");
        assert_eq!(condition(&closed, "ContainersReady").status, "True");
        let gate = json!({"conditions": [{"type": "example.org/lb", "status": "True"}]});
        pod.status = serde_json::from_value(gate).unwrap();
        let open = status(&pod, &seen, &around(&memories));
        assert_eq!(condition(&open, "Ready").status, "True");
        assert_eq!(condition(&open, "example.org/lb").status, "True");
    }
}
