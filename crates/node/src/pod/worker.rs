//! One pod's worker: observes, asks [`plan`] for the next step, takes it, reports the status.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use follow::EventType;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use kube::ResourceExt;
use tokio::sync::{broadcast, mpsc, watch};

use super::{
    backoff::Backoff,
    context::{Context, News, full_name, remove_sandbox},
    disk, names,
    observed::{self, Observed, Run, State},
    plan::{self, Memories, Obstacle, Step},
    probe::{self, Probes, Target, Verdict},
    sources, status, stop, termination,
    tokens::{Purpose, Tokens},
    volumes,
    writer::StatusWriter,
};
use crate::cri::{
    Client, RuntimeError,
    events::{Event, EventKind, Exit},
    messages::{ContainerState, PodSandbox, StopPodSandboxRequest},
};

mod end;
mod start;

/// A call to the runtime that must succeed is repeated after this long at first.
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// And no longer than this apart.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// Verdicts of probes that wait for the worker; while there are so many, the probes wait.
const VERDICTS: usize = 16;

/// What the API wants of a pod.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    /// The object exists; it may have a deletion timestamp.
    Present(Arc<Pod>),
    /// The object is gone; this is its last version.
    Gone(Arc<Pod>),
}

impl Wish {
    /// The object.
    pub(super) fn pod(&self) -> &Arc<Pod> {
        match self {
            Self::Present(pod) | Self::Gone(pod) => pod,
        }
    }

    /// Whether the pod is to be stopped.
    fn is_stop(&self) -> bool {
        matches!(self, Self::Gone(_)) || self.pod().metadata.deletion_timestamp.is_some()
    }
}

/// A pod's worker.
pub(super) struct Worker {
    context: Arc<Context>,
    wishes: watch::Receiver<Wish>,
    news: broadcast::Receiver<News>,
    verdicts: mpsc::Receiver<Verdict>,
    verdict_sender: mpsc::Sender<Verdict>,
    pod: Arc<Pod>,
    observed: watch::Sender<Observed>,
    memories: Memories,
    /// By the id of the run that is probed; none for a run that is being stopped.
    probes: BTreeMap<String, Option<Probes>>,
    places: Option<volumes::Places>,
    sources: Option<sources::Watch>,
    tokens: Tokens,
    /// When volumes are to be brought up to date next, whatever happens to objects.
    refresh_at: Option<Timestamp>,
    writer: StatusWriter,
    last_status: Option<PodStatus>,
    /// Whether the pod has been active for longer than it may.
    expired: bool,
}

impl Worker {
    /// A worker for the pod that `wishes` holds.
    pub(super) fn new(context: Arc<Context>, mut wishes: watch::Receiver<Wish>) -> Self {
        let pod = wishes.borrow_and_update().pod().clone();
        let (verdict_sender, verdicts) = mpsc::channel(VERDICTS);
        let observed = watch::Sender::new(Observed::default());
        context.pods.put(&pod, observed.subscribe());
        Self {
            writer: StatusWriter::start(&context.client, &pod, context.health.clone()),
            news: context.news.subscribe(),
            context,
            wishes,
            verdicts,
            verdict_sender,
            pod,
            observed,
            memories: Memories::new(),
            probes: BTreeMap::new(),
            places: None,
            sources: None,
            tokens: Tokens::default(),
            refresh_at: None,
            last_status: None,
            expired: false,
        }
    }

    /// Runs until the pod is gone from runtime and API. `lists` is what the runtime has of it already.
    pub(super) async fn run(mut self, lists: (Vec<PodSandbox>, Vec<crate::cri::messages::Container>)) {
        let seen = insist(&self.context, "look at the pod", |runtime| {
            let lists = lists.clone();
            async move { observed::observe(&runtime, lists).await }
        })
        .await;
        self.adopt(seen).await;
        while !self.wishes.borrow().is_stop() {
            let now = Timestamp::now();
            let deadline = self.deadline();
            if !self.expired && deadline.is_some_and(|deadline| deadline <= now) {
                self.expire().await;
                continue;
            }
            if self.refresh_at.is_some_and(|time| time <= now) {
                let is_anyone_there = self.observed.borrow().running().next().is_some();
                match is_anyone_there {
                    true => self.refresh_volumes().await,
                    // The next container finds them new.
                    false => self.refresh_at = None,
                }
            }
            let step = match self.expired {
                true => plan::finish(&self.observed.borrow()),
                false => plan::next(&self.pod, &self.observed.borrow(), &self.memories, now),
            };
            match step {
                Step::Wait { until } => {
                    self.publish(self.expired);
                    let times = [until, deadline.filter(|_| !self.expired), self.refresh_at];
                    let until = times.into_iter().flatten().min();
                    self.wait(until).await;
                }
                step => self.take(step).await,
            }
        }
        self.end().await;
    }

    /// Takes what the runtime has as our own: running containers go on, their probes begin.
    async fn adopt(&mut self, mut seen: Observed) {
        self.add_messages(&mut seen).await;
        let old =
            self.pod.status.as_ref().and_then(|status| status.container_statuses.clone()).unwrap_or_default();
        let running: Vec<(String, Run)> =
            seen.running().map(|(name, run)| (name.to_owned(), run.clone())).collect();
        if seen.sandbox_ready() {
            self.lead_host_ports(seen.ips());
        }
        self.observed.send_replace(seen);
        if !running.is_empty() {
            self.sources = sources::Watch::start(&self.context.client, &self.pod);
            // What an earlier process knew of the tokens' ends is lost.
            self.refresh_at = (!Purpose::all(&self.pod).is_empty()).then(Timestamp::now);
        }
        for (name, run) in running {
            let Some(container) = self.container(&name).cloned() else { continue };
            let known = old
                .iter()
                .find(|status| status.container_id.as_ref().is_some_and(|id| id.ends_with(&run.id)));
            let memory = self.memories.entry(name).or_default();
            memory.started =
                container.startup_probe.is_none() || known.is_some_and(|status| status.started == Some(true));
            memory.ready = known.is_some_and(|status| status.ready);
            self.probe(&container, &run);
        }
    }

    /// When the pod has been active for as long as it may, unless it is over anyway.
    fn deadline(&self) -> Option<Timestamp> {
        let spec = self.pod.spec.as_ref()?;
        if plan::is_over(&self.pod) || plan::is_finished(spec, &self.observed.borrow(), &self.memories) {
            return None;
        }
        let begun = |status: &PodStatus| status.start_time.as_ref().map(|time| time.0);
        let begun = self.last_status.as_ref().or(self.pod.status.as_ref()).and_then(begun);
        plan::deadline(&self.pod, begun)
    }

    /// Ends a pod that has been active for longer than it may: its containers are stopped, and it has failed.
    async fn expire(&mut self) {
        self.expired = true;
        let (reason, message) = status::DEADLINE_EXCEEDED;
        self.context.record(&self.pod, EventType::Normal, reason, message.into());
        self.probes.values_mut().for_each(|probes| *probes = None);
        self.stop_containers().await;
    }

    /// Waits for something that may change the plan, until the given time at most.
    async fn wait(&mut self, until: Option<Timestamp>) {
        tokio::select! {
            changed = self.wishes.changed() => {
                if changed.is_ok() {
                    let before = self.pod.clone();
                    self.pod = self.wishes.borrow_and_update().pod().clone();
                    self.replace_changed_images(&before);
                    // Volumes may show them.
                    if before.metadata.labels != self.pod.metadata.labels
                        || before.metadata.annotations != self.pod.metadata.annotations
                    {
                        self.refresh_volumes().await;
                    }
                } else {
                    // The manager is ending, and this task with it.
                    std::future::pending::<()>().await;
                }
            }
            news = self.news.recv() => self.hear(news).await,
            Some(verdict) = self.verdicts.recv() => self.judge(&verdict),
            () = sources::changed(self.sources.as_ref()) => self.take_news_of_sources().await,
            () = sleep_until(until) => {}
        }
    }

    /// Stops running containers whose image is another than `before`: the plan starts them with the new one.
    fn replace_changed_images(&mut self, before: &Pod) {
        let running: Vec<(String, String)> = {
            let observed = self.observed.borrow();
            observed.running().map(|(name, run)| (name.to_owned(), run.id.clone())).collect()
        };
        for (name, id) in running {
            let (Some(old), Some(new)) = (container_of(before, &name), self.container(&name)) else {
                continue;
            };
            if old.image != new.image {
                let (old, why) =
                    (old.clone(), format!("Container {name} definition changed, will be restarted"));
                self.stop_beside(old, id, stop::grace_of(&self.pod), why);
            }
        }
    }

    /// Stops a run of a container without waiting for it; its end arrives as an event.
    fn stop_beside(&mut self, container: Container, id: String, grace: Duration, why: String) {
        self.probes.insert(id.clone(), None);
        let (context, pod) = (self.context.clone(), self.pod.clone());
        let address = self.observed.borrow().ips().first().copied();
        tokio::spawn(async move {
            let deadline = stop::deadline(grace);
            stop::stop_one(&context, &pod, address, &container, id, deadline, why).await;
        });
    }

    /// A ConfigMap or Secret has changed: volumes follow, and what waited for it is tried again at once.
    async fn take_news_of_sources(&mut self) {
        let obstacles = self.memories.values_mut().filter_map(|memory| memory.obstacle.as_mut());
        for obstacle in obstacles.filter(|obstacle| obstacle.is_about_objects()) {
            obstacle.retry_at = Timestamp::now();
        }
        self.refresh_volumes().await;
    }

    async fn hear(&mut self, news: Result<News, broadcast::error::RecvError>) {
        match news {
            Ok(News::Event(event)) => self.note(event).await,
            Ok(News::Resync) | Err(broadcast::error::RecvError::Lagged(_)) => self.look_again().await,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }

    /// Compares with the runtime's lists, when events may have been missed.
    async fn look_again(&mut self) {
        let uid = names::uid(&self.pod);
        let mut seen = insist(&self.context, "list containers", |runtime| {
            let uid = uid.clone();
            async move {
                let mut lists = observed::list_all(&runtime).await?;
                observed::observe(&runtime, lists.remove(&uid).unwrap_or_default()).await
            }
        })
        .await;
        self.add_messages(&mut seen).await;
        let before = self.observed.borrow().clone();
        let seen = seen.after(&before);
        let (ended, begun) = (seen.ended_since(&before), seen.begun_since(&before));
        self.observed.send_replace(seen);
        for (name, id, at) in ended {
            self.take_end(&name, &id, at.unwrap_or_else(now_nanoseconds));
        }
        for (name, run) in begun {
            let Some(container) = self.container(&name).cloned() else { continue };
            let memory = self.memories.entry(name).or_default();
            memory.obstacle = None;
            memory.ready = false;
            memory.started = container.startup_probe.is_none();
            self.probe(&container, &run);
        }
    }

    /// Notes an event, if it is about this pod.
    async fn note(&mut self, event: Event) {
        let id = event.container_id;
        if self.observed.borrow().sandbox.as_ref().is_some_and(|sandbox| sandbox.id == id) {
            self.observed.send_modify(|observed| {
                if let Some(sandbox) = &mut observed.sandbox {
                    sandbox.ready &= !matches!(event.kind, EventKind::Exited(_));
                }
            });
            return;
        }
        let Some(name) = self.observed.borrow().clone().find(&id).map(|(name, _)| name.to_owned()) else {
            return;
        };
        match event.kind {
            EventKind::OutOfMemory if !self.observed.borrow().is_running(&id) => {}
            EventKind::OutOfMemory => self.memories.entry(name).or_default().out_of_memory = true,
            EventKind::Exited(Some(exit)) => self.ended(&name, &id, exit).await,
            EventKind::Exited(None) => {
                if let Ok(status) = self.context.runtime.container_status(&id).await {
                    self.ended(&name, &id, Exit { code: status.exit_code, at: status.finished_at }).await;
                }
            }
        }
    }

    /// Notes the end of a run. Told again, or of a run that another has followed, it changes nothing.
    async fn ended(&mut self, name: &str, id: &str, exit: Exit) {
        if !self.observed.borrow().is_running(id) {
            return;
        }
        let out_of_memory = self.memories.get(name).is_some_and(|memory| memory.out_of_memory);
        // The end and what the container says of it are seen at once.
        let mut seen = self.observed.borrow().clone();
        if let Some((_, run)) = seen.find(id) {
            run.end(exit, out_of_memory);
        }
        self.add_messages(&mut seen).await;
        self.observed.send_replace(seen);
        self.take_end(name, id, exit.at);
    }

    /// What follows from the end of a container's newest run.
    fn take_end(&mut self, name: &str, id: &str, at: i64) {
        self.probes.remove(id);
        let memory = self.memories.entry(name.to_owned()).or_default();
        memory.out_of_memory = false;
        memory.ready = false;
        memory.started = false;
        let delay = memory.restarts.delay_after(plan::time(at));
        if !delay.is_zero() && !self.wishes.borrow().is_stop() {
            let sentence =
                format!("Back-off restarting failed container {name} in pod {}", full_name(&self.pod));
            self.context.record_container(&self.pod, name, EventType::Warning, "BackOff", sentence);
        }
    }

    /// Adds what containers have said of their ends.
    async fn add_messages(&self, observed: &mut Observed) {
        for (name, runs) in &mut observed.runs {
            let Some(container) = self.container(name) else { continue };
            for run in runs {
                let attempt = run.attempt;
                if let State::Exited(ended) = &mut run.state
                    && ended.message.is_empty()
                {
                    let (context, pod, container) =
                        (self.context.clone(), self.pod.clone(), container.clone());
                    let code = ended.code;
                    let message =
                        move || termination::message(&context.config, &pod, &container, attempt, code);
                    ended.message = disk::run(message).await;
                }
            }
        }
    }

    /// Takes a probe's verdict to heart.
    fn judge(&mut self, verdict: &Verdict) {
        let name = {
            let observed = self.observed.borrow();
            let probed = observed.running().find(|(_, run)| run.id == verdict.run);
            probed.map(|(name, _)| name.to_owned())
        };
        let Some(name) = name else { return };
        let memory = self.memories.entry(name.clone()).or_default();
        match (verdict.kind, verdict.healthy) {
            (probe::Kind::Readiness, healthy) => memory.ready = healthy,
            (probe::Kind::Startup, true) => memory.started = true,
            (probe::Kind::Liveness, true) => {}
            (kind @ (probe::Kind::Startup | probe::Kind::Liveness), false) => {
                let Some(container) = self.container(&name).cloned() else { return };
                let (which, probe) = match kind {
                    probe::Kind::Startup => ("startup", &container.startup_probe),
                    _ => ("liveness", &container.liveness_probe),
                };
                let grace = stop::grace_after(&self.pod, probe.as_ref());
                let why = format!("Container {name} failed {which} probe, will be restarted");
                self.stop_beside(container, verdict.run.clone(), grace, why);
            }
        }
    }

    /// Hands the current status over for writing.
    fn publish(&mut self, stopping: bool) {
        let around = status::Circumstances {
            memories: &self.memories,
            host_ip: self.context.config.internal_ip,
            runtime_name: &self.context.runtime_name,
            now: Timestamp::now(),
            stopping,
            expired: self.expired,
        };
        // Transition times are kept from what was reported last, which the watch may not have brought back yet;
        // what others report is newest in the object.
        let mut pod = Pod::clone(&self.pod);
        let reported = pod.status.get_or_insert_default();
        match &self.last_status {
            Some(last) => {
                let others = reported.conditions.take().unwrap_or_default();
                let others = others.into_iter().filter(|condition| !status::is_own(condition));
                let own = last.conditions.iter().flatten().filter(|condition| status::is_own(condition));
                reported.conditions = Some(own.cloned().chain(others).collect());
                reported.start_time = last.start_time.clone();
            }
            // The pod was over before we came, and its containers are gone: nothing is known better here.
            None if plan::is_over(&self.pod) && self.observed.borrow().runs.is_empty() => return,
            None => {}
        }
        let status = status::status(&pod, &self.observed.borrow(), &around);
        self.last_status = Some(status.clone());
        self.writer.write(status, self.pod.status.as_ref());
    }

    /// Takes a step of the plan. What fails is remembered as an obstacle, with a time to try again.
    async fn take(&mut self, step: Step) {
        match step {
            Step::MakeSandbox { attempt } => self.make_sandbox(attempt).await,
            Step::RemoveSandbox { id } => self.replace_sandbox(&id).await,
            Step::Start { container, attempt } => self.start(&container, attempt).await,
            Step::Finish => {
                let id = self.observed.borrow().sandbox.as_ref().map(|sandbox| sandbox.id.clone());
                let id = id.unwrap_or_default();
                stop_sandbox(&self.context, &id).await;
                self.context.host_ports.release(&names::uid(&self.pod));
                self.refresh().await;
                self.observed.send_modify(|observed| {
                    if let Some(sandbox) = &mut observed.sandbox {
                        sandbox.ready = false;
                    }
                });
            }
            Step::Wait { .. } => {}
        }
    }

    /// Asks the runtime how the containers that we believe to run have ended.
    async fn refresh(&mut self) {
        let running: Vec<(String, String)> = {
            let observed = self.observed.borrow();
            observed.running().map(|(name, run)| (name.to_owned(), run.id.clone())).collect()
        };
        for (name, id) in running {
            let exit = match self.context.runtime.container_status(&id).await {
                Ok(status) if status.state() == ContainerState::Running => continue,
                Ok(status) => Exit { code: status.exit_code, at: status.finished_at },
                Err(_) => Exit { code: 137, at: now_nanoseconds() },
            };
            self.ended(&name, &id, exit).await;
        }
    }

    fn probe(&mut self, container: &Container, run: &Run) {
        let has_probes = container.startup_probe.is_some()
            || container.liveness_probe.is_some()
            || container.readiness_probe.is_some();
        if !has_probes {
            return;
        }
        let own = self.observed.borrow().ips().first().copied();
        let target = Target {
            pod: self.pod.clone(),
            container: container.clone(),
            run: run.id.clone(),
            address: own.unwrap_or(self.context.config.internal_ip),
        };
        let probes = probe::start(self.context.clone(), target, self.verdict_sender.clone());
        self.probes.insert(run.id.clone(), Some(probes));
    }

    /// Remembers why something does not start, and when to try again.
    fn hinder(&mut self, name: &str, reason: &'static str, message: String) {
        let now = Timestamp::now();
        let memory = self.memories.entry(name.to_owned()).or_default();
        let mut tries = memory.obstacle.take().map_or_else(Backoff::default, |obstacle| obstacle.tries);
        tries.retried(now);
        let retry_at = tries.retry_at(now);
        tracing::warn!(pod = full_name(&self.pod), container = name, reason, "{message}");
        memory.obstacle = Some(Obstacle { reason, message, retry_at, tries });
    }

    fn log_dir(&self) -> PathBuf {
        let namespace = self.pod.namespace().unwrap_or_default();
        names::log_dir(&self.context.config, &namespace, &self.pod.name_any(), &names::uid(&self.pod))
    }

    fn container(&self, name: &str) -> Option<&Container> {
        container_of(&self.pod, name)
    }
}

/// Sleeps until the given time; for ever without one.
async fn sleep_until(time: Option<Timestamp>) {
    match time {
        Some(time) => {
            let left = Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default();
            tokio::time::sleep(left).await;
        }
        None => std::future::pending().await,
    }
}

/// A pod's container or init container.
fn container_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    spec.init_containers.iter().flatten().chain(&spec.containers).find(|container| container.name == name)
}

/// Repeats a call to the runtime until it succeeds, ever more slowly: the runtime may be restarting.
async fn insist<T, F>(context: &Context, what: &'static str, call: impl Fn(Client) -> F + Send) -> T
where
    F: Future<Output = Result<T, RuntimeError>> + Send,
{
    let mut delay = FIRST_RETRY;
    loop {
        match call(context.runtime.clone()).await {
            Ok(answer) => return answer,
            Err(error) => tracing::warn!("cannot {what}, trying again: {error}"),
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(LONGEST_RETRY);
    }
}

/// Stops a sandbox and everything in it, however long it takes.
async fn stop_sandbox(context: &Context, id: &str) {
    insist(context, "stop a sandbox", |runtime| {
        let request = StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        async move { runtime.stop_pod_sandbox(request).await }
    })
    .await;
}

/// Removes a sandbox and everything in it, however long it takes.
async fn drop_sandbox(context: &Context, id: &str) {
    insist(context, "remove a sandbox", |runtime| {
        let id = id.to_owned();
        async move { remove_sandbox(&runtime, &id).await }
    })
    .await;
}

fn now_nanoseconds() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
