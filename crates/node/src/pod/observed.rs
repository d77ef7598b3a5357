//! What the runtime has of a pod: its sandbox and its containers, as last seen.

use std::{collections::BTreeMap, net::IpAddr};

use super::names;
use crate::cri::{
    Client, RuntimeError,
    events::Exit,
    messages::{
        Container, ContainerState, ContainerStatus, ListContainersRequest, ListPodSandboxRequest, PodSandbox,
        PodSandboxState, PodSandboxStatus, PodSandboxStatusRequest,
    },
};

/// A pod's sandbox.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sandbox {
    pub(super) id: String,
    pub(super) attempt: u32,
    /// Whether its processes and network stand.
    pub(super) ready: bool,
    /// Empty on the node's own network.
    pub(super) ips: Vec<IpAddr>,
}

/// One run of a container.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    pub(super) id: String,
    pub(super) sandbox_id: String,
    /// 0 for the first; the restart count.
    pub(super) attempt: u32,
    /// The image's name as the runtime has it.
    pub(super) image: String,
    /// Digest or id of the image.
    pub(super) image_ref: String,
    pub(super) state: State,
}

/// The state of one run. Times are nanoseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    /// Made, but its process was never started.
    Created,
    /// Its process runs.
    Running { started: i64 },
    /// Its process ended.
    Exited(Ended),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ended {
    pub(super) started: i64,
    pub(super) finished: i64,
    pub(super) code: i32,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Run {
    /// Whether the process runs.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// How it ended, if it did.
    pub(super) fn ended(&self) -> Option<&Ended> {
        match &self.state {
            State::Exited(ended) => Some(ended),
            _ => None,
        }
    }

    /// Notes the end of the process. `out_of_memory` tells whether the kernel killed for memory before.
    pub(super) fn end(&mut self, exit: Exit, out_of_memory: bool) {
        let State::Running { started } = self.state else { return };
        let reason = match (exit.code, out_of_memory) {
            (0, _) => "Completed",
            (_, true) => "OOMKilled",
            _ => "Error",
        };
        self.state = State::Exited(Ended {
            started,
            finished: exit.at,
            code: exit.code,
            reason: reason.into(),
            message: String::new(),
        });
    }
}

impl From<&ContainerStatus> for Run {
    fn from(status: &ContainerStatus) -> Self {
        let state = match status.state() {
            ContainerState::Created => State::Created,
            ContainerState::Running => State::Running { started: status.started_at },
            ContainerState::Exited | ContainerState::Unknown => State::Exited(Ended {
                started: status.started_at,
                finished: status.finished_at,
                code: status.exit_code,
                reason: match (status.reason.as_str(), status.exit_code) {
                    ("", 0) => "Completed".into(),
                    ("", _) => "Error".into(),
                    (reason, _) => reason.into(),
                },
                message: status.message.clone(),
            }),
        };
        Self {
            id: status.id.clone(),
            sandbox_id: String::new(),
            attempt: status.metadata.as_ref().map_or(0, |metadata| metadata.attempt),
            image: status.image.as_ref().map(|image| image.image.clone()).unwrap_or_default(),
            image_ref: status.image_ref.clone(),
            state,
        }
    }
}

/// All that the runtime has of one pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Observed {
    /// The newest sandbox.
    pub(super) sandbox: Option<Sandbox>,
    /// Older sandboxes, which are to be removed.
    pub(super) old_sandboxes: Vec<String>,
    /// The runs of each container, by name, the oldest first.
    pub(super) runs: BTreeMap<String, Vec<Run>>,
}

impl Observed {
    /// The newest run of a container.
    pub(super) fn current(&self, container: &str) -> Option<&Run> {
        self.runs.get(container)?.last()
    }

    /// The run before the newest.
    pub(super) fn previous(&self, container: &str) -> Option<&Run> {
        self.runs.get(container)?.iter().rev().nth(1)
    }

    /// The run with an id, and its container's name.
    pub(super) fn find(&mut self, id: &str) -> Option<(&str, &mut Run)> {
        self.runs.iter_mut().find_map(|(name, runs)| {
            let run = runs.iter_mut().find(|run| run.id == id)?;
            Some((name.as_str(), run))
        })
    }

    /// Every run whose process runs: container name and id.
    pub(super) fn running(&self) -> impl Iterator<Item = (&str, &Run)> {
        let current = self.runs.iter().filter_map(|(name, runs)| Some((name.as_str(), runs.last()?)));
        current.filter(|(_, run)| run.is_running())
    }

    /// Whether this is the newest run of its container, and its process runs.
    pub(super) fn is_running(&self, id: &str) -> bool {
        self.running().any(|(_, run)| run.id == id)
    }

    /// The same, where `before` has seen more: what has ended never runs again, so that a list from before its end
    /// brings nothing back.
    pub(super) fn after(mut self, before: &Self) -> Self {
        if let (Some(now), Some(old)) = (&mut self.sandbox, &before.sandbox) {
            now.ready &= now.id != old.id || old.ready;
        }
        let ended = before.runs.values().flatten().filter(|run| run.ended().is_some());
        for old in ended {
            if let Some((_, run)) = self.find(&old.id)
                && run.is_running()
            {
                run.state = old.state.clone();
            }
        }
        self
    }

    /// The runs that ran in `before` and do not run any more: container name, id, and when the process ended, in
    /// nanoseconds since the epoch, if the runtime still knows.
    pub(super) fn ended_since(&self, before: &Self) -> Vec<(String, String, Option<i64>)> {
        let ended = before.running().filter(|(_, run)| !self.is_running(&run.id));
        let with_time = ended.map(|(name, run)| {
            let now = self.runs.get(name).into_iter().flatten().find(|other| other.id == run.id);
            let at = now.and_then(Run::ended).map(|ended| ended.finished);
            (name.to_owned(), run.id.clone(), at)
        });
        with_time.collect()
    }

    /// The newest runs that run and are not in `before` at all: their start was not seen, as when the runtime's answer
    /// came too late.
    pub(super) fn begun_since(&self, before: &Self) -> Vec<(String, Run)> {
        let known = |id: &str| before.runs.values().flatten().any(|run| run.id == id);
        let begun = self.running().filter(|(_, run)| !known(&run.id));
        begun.map(|(name, run)| (name.to_owned(), run.clone())).collect()
    }

    /// Whether the newest sandbox stands.
    pub(super) fn sandbox_ready(&self) -> bool {
        self.sandbox.as_ref().is_some_and(|sandbox| sandbox.ready)
    }

    /// The pod's addresses.
    pub(super) fn ips(&self) -> &[IpAddr] {
        self.sandbox.as_ref().map_or(&[], |sandbox| &sandbox.ips)
    }
}

/// What the runtime lists, by the pods' uid.
pub(super) type Lists = BTreeMap<String, (Vec<PodSandbox>, Vec<Container>)>;

/// Everything that the runtime has.
pub(super) async fn list_all(runtime: &Client) -> Result<Lists, RuntimeError> {
    let sandboxes = runtime.list_pod_sandbox(ListPodSandboxRequest::default()).await?.items;
    let containers = runtime.list_containers(ListContainersRequest::default()).await?.containers;
    let mut lists = Lists::new();
    for sandbox in sandboxes {
        let uid = sandbox.metadata.as_ref().map(|metadata| metadata.uid.clone()).unwrap_or_default();
        lists.entry(uid).or_default().0.push(sandbox);
    }
    for container in containers {
        let uid = container.labels.get(names::POD_UID).cloned().unwrap_or_default();
        lists.entry(uid).or_default().1.push(container);
    }
    Ok(lists)
}

/// Looks closely at one pod's part of the runtime's lists.
pub(super) async fn observe(
    runtime: &Client,
    (mut sandboxes, containers): (Vec<PodSandbox>, Vec<Container>),
) -> Result<Observed, RuntimeError> {
    let mut observed = Observed::default();
    sandboxes.sort_by_key(|sandbox| {
        (sandbox.metadata.as_ref().map_or(0, |metadata| metadata.attempt), sandbox.created_at)
    });
    if let Some(newest) = sandboxes.pop() {
        observed.sandbox = Some(sandbox(runtime, &newest.id).await?);
    }
    observed.old_sandboxes = sandboxes.into_iter().map(|sandbox| sandbox.id).collect();
    for container in containers {
        let Some(name) = container.metadata.as_ref().map(|metadata| metadata.name.clone()) else { continue };
        let status = match runtime.container_status(&container.id).await {
            Err(error) if error.is_not_found() => continue,
            status => status?,
        };
        let run = Run { sandbox_id: container.pod_sandbox_id, ..Run::from(&status) };
        observed.runs.entry(name).or_default().push(run);
    }
    for runs in observed.runs.values_mut() {
        runs.sort_by_key(|run| run.attempt);
    }
    Ok(observed)
}

/// Looks at one sandbox.
pub(super) async fn sandbox(runtime: &Client, id: &str) -> Result<Sandbox, RuntimeError> {
    let request = PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
    let status = runtime.pod_sandbox_status(request).await?.status;
    let status: PodSandboxStatus =
        status.ok_or(RuntimeError::Incomplete { call: "PodSandboxStatus", field: "status" })?;
    let network = status.network.clone().unwrap_or_default();
    let ips = [network.ip].into_iter().chain(network.additional_ips.into_iter().map(|more| more.ip));
    Ok(Sandbox {
        ready: status.state == i32::from(PodSandboxState::Ready),
        attempt: status.metadata.map_or(0, |metadata| metadata.attempt),
        ips: ips.filter_map(|ip| ip.parse().ok()).collect(),
        id: status.id,
    })
}

/// Makes [`Observed`] values for the tests of the pure parts.
#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn sandbox() -> Sandbox {
        Sandbox { id: "s1".into(), attempt: 0, ready: true, ips: vec![[10, 244, 0, 2].into()] }
    }

    pub(in super::super) fn run(attempt: u32, state: State) -> Run {
        Run {
            id: format!("c{attempt}"),
            sandbox_id: "s1".into(),
            attempt,
            image: "docker.io/library/httpd:latest".into(),
            image_ref: "sha256:1".into(),
            state,
        }
    }

    pub(in super::super) fn ended(code: i32, finished: i64) -> State {
        let reason = if code == 0 { "Completed" } else { "Error" };
        let finished = finished * 1_000_000_000;
        State::Exited(Ended { started: 0, finished, code, reason: reason.into(), message: String::new() })
    }

    pub(in super::super) fn observed(runs: &[(&str, &[State])]) -> Observed {
        let runs = runs.iter().map(|(name, states)| {
            let runs = states.iter().zip(0..).map(|(state, attempt)| run(attempt, state.clone())).collect();
            ((*name).to_owned(), runs)
        });
        Observed { sandbox: Some(sandbox()), old_sandboxes: vec![], runs: runs.collect() }
    }

    #[test]
    fn an_exit_is_completed_an_error_or_a_lack_of_memory() {
        for (code, out_of_memory, reason) in
            [(0, false, "Completed"), (1, false, "Error"), (137, true, "OOMKilled"), (137, false, "Error")]
        {
            let mut run = run(0, State::Running { started: 1 });
            run.end(Exit { code, at: 2 }, out_of_memory);
            assert_eq!(run.ended().unwrap().reason, reason);
        }
    }

    #[test]
    fn a_late_list_brings_no_run_back_and_what_it_shows_newly_is_told() {
        let running = || State::Running { started: 1 };
        let of = |states: &[(&str, &[State])]| {
            let mut observed = observed(states);
            for (name, runs) in &mut observed.runs {
                runs.iter_mut().for_each(|run| run.id = format!("{name}{}", run.attempt));
            }
            observed
        };
        let before = of(&[("a", &[ended(1, 2), running()]), ("b", &[ended(1, 2)]), ("c", &[running()])]);
        let before = Observed { sandbox: Some(Sandbox { ready: false, ..sandbox() }), ..before };
        let late = of(&[("a", &[ended(1, 2), ended(3, 4)]), ("b", &[running()]), ("d", &[running()])]);
        let after = late.after(&before);
        assert!(!after.sandbox_ready());
        assert_eq!(after.current("b").unwrap().state, ended(1, 2));
        let ends: Vec<_> = after.ended_since(&before).into_iter().map(|(_, id, at)| (id, at)).collect();
        assert_eq!(ends, [("a1".to_owned(), Some(4_000_000_000)), ("c0".to_owned(), None)]);
        let begun: Vec<_> = after.begun_since(&before).into_iter().map(|(_, run)| run.id).collect();
        assert_eq!(begun, ["d0"]);
    }

    #[test]
    fn only_the_newest_run_of_a_container_runs() {
        let observed = observed(&[("a", &[ended(1, 2), State::Running { started: 3 }])]);
        assert_eq!(["c0", "c1", "c2"].map(|id| observed.is_running(id)), [false, true, false]);
    }
}
