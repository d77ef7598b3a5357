//! What to do next for a pod: a pure function of its specification, of what the runtime has, and of what the
//! worker remembers. It is asked again after every step and every event.

use std::collections::BTreeMap;

use api::seconds::Seconds;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::{backoff::Backoff, observed::Observed};

/// What a worker remembers of a container besides what the runtime has.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Memory {
    /// Delays between restarts.
    pub(super) restarts: Backoff,
    /// Why the next start does not happen, if it was tried in vain.
    pub(super) obstacle: Option<Obstacle>,
    /// The readiness probe's verdict on the current run.
    pub(super) ready: bool,
    /// The startup probe's verdict on the current run; true without one.
    pub(super) started: bool,
    /// Whether the kernel killed a process of the current run for memory.
    pub(super) out_of_memory: bool,
}

/// Something that keeps a container from starting.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Obstacle {
    /// `ErrImagePull`, `CreateContainerConfigError`, …
    pub(super) reason: &'static str,
    /// A sentence for the user.
    pub(super) message: String,
    /// When to try again.
    pub(super) retry_at: Timestamp,
    /// Delays between tries.
    pub(super) tries: Backoff,
}

/// The reason while a container's configuration cannot be made from what it names.
pub(super) const CONFIG: &str = "CreateContainerConfigError";
/// The reason while a volume cannot be made.
pub(super) const MOUNT: &str = "ContainerCreating";

impl Obstacle {
    /// Whether it may go away with a change of a ConfigMap or Secret.
    pub(super) fn is_about_objects(&self) -> bool {
        matches!(self.reason, CONFIG | MOUNT)
    }
}

/// Memories by container name.
pub(super) type Memories = BTreeMap<String, Memory>;

/// The next thing to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Remove a sandbox that no longer stands, with what is in it.
    RemoveSandbox { id: String },
    /// Make a sandbox.
    MakeSandbox { attempt: u32 },
    /// Make and start a container's next run.
    Start { container: String, attempt: u32 },
    /// The pod is done: stop the sandbox, keep the containers for their logs.
    Finish,
    /// Nothing, until an event or the given time.
    Wait { until: Option<Timestamp> },
}

/// Whether a container starts again after it ended with `code`.
fn restarts(spec: &PodSpec, code: i32) -> bool {
    match spec.restart_policy.as_deref() {
        Some("Never") => false,
        Some("OnFailure") => code != 0,
        _ => true,
    }
}

/// Whether an init container is a sidecar, which runs beside the others (KEP-753).
pub(super) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Where the init containers are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Init {
    /// This one is to run, or runs.
    At(usize),
    /// One failed and is not tried again.
    Failed,
    /// All have done their work.
    Done,
}

/// Where the init containers of a pod are, in its current sandbox. Once a main container has run in it, they
/// are done, whether or not their records are still there.
pub(super) fn init(spec: &PodSpec, observed: &Observed, memories: &Memories) -> Init {
    let here = |run: &&super::observed::Run| {
        observed.sandbox.as_ref().is_some_and(|sandbox| sandbox.id == run.sandbox_id)
    };
    let current = |name: &str| observed.current(name).filter(here);
    if spec.containers.iter().any(|container| current(&container.name).is_some()) {
        return Init::Done;
    }
    for (index, container) in spec.init_containers.iter().flatten().enumerate() {
        let run = current(&container.name);
        if is_sidecar(container) {
            let started = memories.get(&container.name).is_some_and(|memory| memory.started);
            if !(started && run.is_some_and(super::observed::Run::is_running)) {
                return Init::At(index);
            }
            continue;
        }
        match run.and_then(|run| run.ended()) {
            Some(ended) if ended.code == 0 => {}
            Some(_) if spec.restart_policy.as_deref() == Some("Never") => return Init::Failed,
            _ => return Init::At(index),
        }
    }
    Init::Done
}

/// Whether all is over: every main container ended for good, or an init container failed for good.
pub(super) fn is_finished(spec: &PodSpec, observed: &Observed, memories: &Memories) -> bool {
    let over = |container: &Container| {
        let ended = observed.current(&container.name).and_then(|run| run.ended());
        ended.is_some_and(|ended| !restarts(spec, ended.code))
    };
    init(spec, observed, memories) == Init::Failed || spec.containers.iter().all(over)
}

/// Whether the object says that the pod has succeeded or failed. Such a pod never starts again, even when the
/// runtime has lost its containers.
pub(super) fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// When a pod that began at `begun` has been active for as long as it may (`spec.activeDeadlineSeconds`); `None` if it
/// may for ever.
pub(super) fn deadline(pod: &Pod, begun: Option<Timestamp>) -> Option<Timestamp> {
    let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
    Some(begun?.saturating_add(Seconds::from(seconds).duration()).unwrap_or(Timestamp::MAX))
}

/// The next step for a pod whose time is over, once its containers have ended.
pub(super) fn finish(observed: &Observed) -> Step {
    if observed.sandbox_ready() { Step::Finish } else { Step::Wait { until: None } }
}

/// The next step for `pod` at time `now`.
pub(super) fn next(pod: &Pod, observed: &Observed, memories: &Memories, now: Timestamp) -> Step {
    let Some(spec) = &pod.spec else { return Step::Wait { until: None } };
    if is_over(pod) || is_finished(spec, observed, memories) {
        return finish(observed);
    }
    if let Some(id) = observed.old_sandboxes.first() {
        return Step::RemoveSandbox { id: id.clone() };
    }
    match &observed.sandbox {
        None => {
            let obstacle = memories.get(SANDBOX).and_then(|memory| memory.obstacle.as_ref());
            return match obstacle.filter(|obstacle| obstacle.retry_at > now) {
                Some(obstacle) => Step::Wait { until: Some(obstacle.retry_at) },
                None => Step::MakeSandbox { attempt: 0 },
            };
        }
        Some(sandbox) if !sandbox.ready => {
            return Step::RemoveSandbox { id: sandbox.id.clone() };
        }
        Some(_) => {}
    }
    let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
    let candidates: Vec<&Container> = match init(spec, observed, memories) {
        Init::At(index) => {
            let before = spec.init_containers.iter().flatten().take(index);
            before
                .filter(|container| is_sidecar(container))
                .chain(spec.init_containers.iter().flatten().nth(index))
                .collect()
        }
        Init::Failed => vec![],
        Init::Done => sidecars.chain(&spec.containers).collect(),
    };
    let mut wake: Option<Timestamp> = None;
    for container in candidates {
        match start_at(spec, container, observed, memories) {
            Some(at) if at <= now => {
                let attempt = observed.current(&container.name).map_or(0, |run| run.attempt + 1);
                return Step::Start { container: container.name.clone(), attempt };
            }
            Some(at) => wake = Some(wake.map_or(at, |wake| wake.min(at))),
            None => {}
        }
    }
    Step::Wait { until: wake }
}

/// The name under which memories hold what concerns the sandbox; no container can be called so.
pub(super) const SANDBOX: &str = "";

/// When a container is to be started; `None` when it runs or has ended for good.
fn start_at(
    spec: &PodSpec,
    container: &Container,
    observed: &Observed,
    memories: &Memories,
) -> Option<Timestamp> {
    let memory = memories.get(&container.name);
    let obstacle = memory.and_then(|memory| memory.obstacle.as_ref()).map(|obstacle| obstacle.retry_at);
    let run = observed.current(&container.name);
    let due = match run {
        None => Timestamp::MIN,
        Some(run) => {
            let ended = match &run.state {
                super::observed::State::Running { .. } => return None,
                // Made by a process that ended before it could start it.
                super::observed::State::Created => return Some(Timestamp::MIN),
                super::observed::State::Exited(ended) => ended,
            };
            if !is_sidecar(container) && !restarts(spec, ended.code) && !is_init(spec, container) {
                return None;
            }
            if is_init(spec, container) && !is_sidecar(container) && ended.code == 0 {
                return (observed.sandbox.as_ref()?.id != run.sandbox_id).then_some(Timestamp::MIN);
            }
            let finished = time(ended.finished);
            memory.map_or(Timestamp::MIN, |memory| memory.restarts.retry_at(finished))
        }
    };
    Some(obstacle.map_or(due, |retry| retry.max(due)))
}

fn is_init(spec: &PodSpec, container: &Container) -> bool {
    spec.init_containers.iter().flatten().any(|init| init.name == container.name)
}

/// A time of the runtime's, in nanoseconds since the epoch.
pub(super) fn time(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pod::observed::{
        State,
        tests::{ended, observed},
    };

    const RUNNING: State = State::Running { started: 0 };

    fn pod(policy: &str, init: &[&str], main: &[&str]) -> Pod {
        let list = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
        let spec = json!({"restartPolicy": policy, "initContainers": list(init), "containers": list(main)});
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn start(container: &str, attempt: u32) -> Step {
        Step::Start { container: container.into(), attempt }
    }

    #[test]
    fn the_sandbox_comes_first() {
        let step = next(&pod("Always", &[], &["a"]), &Observed::default(), &Memories::new(), at(0));
        assert_eq!(step, Step::MakeSandbox { attempt: 0 });
    }

    #[test]
    fn init_containers_run_one_after_the_other_before_the_main_ones() {
        let pod = pod("Always", &["i", "j"], &["a"]);
        let step = |runs: &[(&str, &[State])]| next(&pod, &observed(runs), &Memories::new(), at(100));
        assert_eq!(step(&[]), start("i", 0));
        assert_eq!(step(&[("i", &[RUNNING])]), Step::Wait { until: None });
        assert_eq!(step(&[("i", &[ended(0, 1)])]), start("j", 0));
        assert_eq!(step(&[("i", &[ended(0, 1)]), ("j", &[ended(0, 2)])]), start("a", 0));
        assert_eq!(step(&[("i", &[ended(1, 1)])]), start("i", 1));
    }

    #[test]
    fn a_failed_init_container_with_policy_never_finishes_the_pod() {
        let pod = pod("Never", &["i"], &["a"]);
        assert_eq!(next(&pod, &observed(&[("i", &[ended(1, 1)])]), &Memories::new(), at(9)), Step::Finish);
    }

    #[test]
    fn the_restart_policy_decides_who_starts_again() {
        let step = |policy: &str, code: i32| {
            next(&pod(policy, &[], &["a"]), &observed(&[("a", &[ended(code, 1)])]), &Memories::new(), at(9))
        };
        assert_eq!(step("Always", 0), start("a", 1));
        assert_eq!(step("OnFailure", 0), Step::Finish);
        assert_eq!(step("OnFailure", 1), start("a", 1));
        assert_eq!(step("Never", 1), Step::Finish);
    }

    #[test]
    fn a_crash_loop_waits_for_its_delay() {
        let mut memory = Memory::default();
        memory.restarts.retried(at(100));
        let memories = Memories::from([("a".to_owned(), memory)]);
        let seen = observed(&[("a", &[ended(1, 100)])]);
        let pod = pod("Always", &[], &["a"]);
        assert_eq!(next(&pod, &seen, &memories, at(109)), Step::Wait { until: Some(at(110)) });
        assert_eq!(next(&pod, &seen, &memories, at(110)), start("a", 1));
    }

    #[test]
    fn one_waiting_container_does_not_hold_up_the_others() {
        let obstacle = Obstacle {
            reason: "ErrImagePull",
            message: String::new(),
            retry_at: at(50),
            tries: Backoff::default(),
        };
        let memory = Memory { obstacle: Some(obstacle), ..Default::default() };
        let memories = Memories::from([("a".to_owned(), memory)]);
        let pod = pod("Always", &[], &["a", "b"]);
        assert_eq!(next(&pod, &observed(&[]), &memories, at(1)), start("b", 0));
        let seen = observed(&[("b", &[RUNNING])]);
        assert_eq!(next(&pod, &seen, &memories, at(1)), Step::Wait { until: Some(at(50)) });
    }

    #[test]
    fn a_dead_sandbox_is_replaced_unless_the_pod_is_over() {
        let mut seen = observed(&[("a", &[ended(137, 1)])]);
        seen.sandbox.as_mut().unwrap().ready = false;
        let step = |policy| next(&pod(policy, &[], &["a"]), &seen, &Memories::new(), at(9));
        assert_eq!(step("Always"), Step::RemoveSandbox { id: "s1".into() });
        assert_eq!(step("Never"), Step::Wait { until: None });
    }

    #[test]
    fn a_pod_that_is_over_never_starts_again() {
        let mut pod = pod("Always", &[], &["a"]);
        pod.status = serde_json::from_value(json!({"phase": "Succeeded"})).unwrap();
        let step = next(&pod, &Observed::default(), &Memories::new(), at(9));
        assert_eq!(step, Step::Wait { until: None });
    }

    #[test]
    fn a_deadline_counts_from_the_pods_start_and_may_lie_beyond_all_clocks() {
        let limited = |seconds: i64| {
            let mut pod = pod("Never", &[], &["a"]);
            pod.spec.as_mut().unwrap().active_deadline_seconds = Some(seconds);
            pod
        };
        assert_eq!(deadline(&limited(5), Some(at(100))), Some(at(105)));
        assert_eq!(deadline(&limited(5), None), None, "a pod that has not begun has all its time");
        assert!(deadline(&limited(i64::MAX), Some(at(100))) > Some(at(3_000_000_000)));
        assert_eq!(deadline(&pod("Never", &[], &["a"]), Some(at(100))), None);
    }

    #[test]
    fn a_sidecar_runs_on_and_does_not_keep_the_pod_from_finishing() {
        let mut pod = pod("Never", &["s"], &["a"]);
        pod.spec.as_mut().unwrap().init_containers.as_mut().unwrap()[0].restart_policy =
            Some("Always".into());
        let started = Memories::from([("s".to_owned(), Memory { started: true, ..Default::default() })]);
        let step = |runs: &[(&str, &[State])]| next(&pod, &observed(runs), &started, at(9));
        assert_eq!(step(&[]), start("s", 0));
        assert_eq!(step(&[("s", &[RUNNING])]), start("a", 0));
        assert_eq!(step(&[("s", &[ended(1, 1)]), ("a", &[RUNNING])]), start("s", 1));
        assert_eq!(step(&[("s", &[RUNNING]), ("a", &[ended(0, 1)])]), Step::Finish);
    }
}
