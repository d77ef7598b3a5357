//! What is broken, how it is made whole, and what must hold meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::ground::{Ground, HERE, eventually};
use super::hostile;

/// What requests to Services may notice of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// Nothing: not one may fail, since the kernel's rules and the pods outlive what is broken.
    Flows,
    /// Some may fail; no longer than so many seconds may pass without an answer.
    Returns(u64),
}

/// One thing that can go wrong.
pub(crate) struct Action {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) traffic: Traffic,
    /// It takes a minute or more, and is not done when each action is done once.
    pub(crate) is_long: bool,
    /// Breaks and makes whole; says what it found. An error is a promise that was not kept.
    pub(crate) run: fn(&mut Ground) -> anyhow::Result<String>,
    /// Makes whole what `run` may have left broken when it failed.
    pub(crate) undo: fn(&mut Ground) -> anyhow::Result<()>,
}

impl Action {
    const fn new(
        name: &'static str,
        what: &'static str,
        traffic: Traffic,
        run: fn(&mut Ground) -> anyhow::Result<String>,
    ) -> Self {
        Self { name, what, traffic, is_long: false, run, undo: |_| Ok(()) }
    }

    const fn undone_by(self, undo: fn(&mut Ground) -> anyhow::Result<()>) -> Self {
        Self { undo, ..self }
    }

    const fn long(self) -> Self {
        Self { is_long: true, ..self }
    }
}

use Traffic::{Flows, Returns};

/// All of them, in the order in which they are done once.
pub(crate) static ACTIONS: [Action; 21] = [
    Action::new("nothing", "for comparison", Flows, nothing),
    Action::new("kill", "SIGKILL to portolan, and start again", Flows, kill).undone_by(restart),
    Action::new("kill-early", "SIGKILL while it starts, and start again", Flows, kill_early)
        .undone_by(restart),
    Action::new("term", "SIGTERM to portolan, and start again", Flows, term).undone_by(restart),
    Action::new("hangup", "SIGHUP to portolan", Flows, hangup),
    Action::new("freeze", "SIGSTOP to portolan for some seconds", Flows, freeze).undone_by(thaw),
    Action::new("runtime-kill", "SIGKILL to a node's containerd", Flows, runtime_kill),
    Action::new(
        "runtime-freeze",
        "a pod's process dies while its containerd is frozen",
        Returns(15),
        runtime_freeze,
    )
    .undone_by(thaw),
    Action::new("pod-kill", "SIGKILL to process 1 of a pod", Returns(15), pod_kill),
    Action::new("pod-delete", "a pod is deleted, and another made", Returns(15), pod_delete),
    Action::new("link", "a node's link is down for some seconds", Returns(25), link).undone_by(links_up),
    Action::new("route", "a node's default route is removed", Returns(15), route),
    Action::new("rules", "a node's rules are removed", Returns(15), rules),
    Action::new("disk", "the disk is full", Flows, disk).undone_by(empty),
    Action::new("disk-kill", "SIGKILL while the disk is full, and start again", Flows, disk_kill)
        .undone_by(empty),
    Action::new("hog", "half bodies and unread lists on 100 connections", Flows, hostile::hog),
    Action::new("patches", "strategic patches of thousands of ports", Flows, hostile::patches),
    Action::new("hostile-pod", "links and pipes in a pod's volumes while they change", Flows, hostile::pod)
        .undone_by(hostile::remove_pod),
    Action::new("certificate", "kube-root-ca.crt is deleted", Flows, hostile::certificate),
    Action::new("long-freeze", "SIGSTOP to portolan for longer than a Lease", Flows, long_freeze)
        .undone_by(thaw)
        .long(),
    Action::new("long-link", "a node's link is down for 62 s", Returns(90), long_link)
        .undone_by(links_up)
        .long(),
];

/// How long what is right may take on a busy machine.
const SOON: Duration = Duration::from_secs(30);

fn nothing(_: &mut Ground) -> anyhow::Result<String> {
    std::thread::sleep(Duration::from_secs(2));
    Ok(String::new())
}

fn stopped_by(ground: &mut Ground, signal: Signal) -> anyhow::Result<String> {
    let ended = ground.sandbox.end(signal)?;
    let pause = ground.any_time(0, 1500);
    std::thread::sleep(pause);
    let ready = ground.sandbox.start()?;
    Ok(format!("ended after {ended:.1?}, started {pause:.1?} later, ready after {ready:.1?}"))
}

fn kill(ground: &mut Ground) -> anyhow::Result<String> {
    stopped_by(ground, Signal::KILL)
}

fn term(ground: &mut Ground) -> anyhow::Result<String> {
    stopped_by(ground, Signal::TERM)
}

fn kill_early(ground: &mut Ground) -> anyhow::Result<String> {
    ground.sandbox.end(Signal::KILL)?;
    let mut times = Vec::new();
    for _ in 0..3 {
        let time = ground.any_time(1, 2500);
        ground.sandbox.launch()?;
        std::thread::sleep(time);
        ensure!(!ground.sandbox.has_crashed(), "portolan up has ended: {}", ground.sandbox.last_words());
        ground.sandbox.end(Signal::KILL)?;
        times.push(format!("{time:.1?}"));
    }
    let ready = ground.sandbox.start()?;
    Ok(format!("killed after {}; then ready after {ready:.1?}", times.join(", ")))
}

fn restart(ground: &mut Ground) -> anyhow::Result<()> {
    if ground.sandbox.pid().is_err() || ground.sandbox.has_crashed() {
        ground.sandbox.start()?;
    }
    Ok(())
}

fn hangup(ground: &mut Ground) -> anyhow::Result<String> {
    for _ in 0..3 {
        ground.sandbox.signal(Signal::HUP)?;
        std::thread::sleep(Duration::from_millis(300));
    }
    ensure!(!ground.sandbox.has_crashed(), "a hangup ends portolan");
    Ok(String::new())
}

fn frozen_for(ground: &mut Ground, time: Duration) -> anyhow::Result<String> {
    ground.sandbox.signal(Signal::STOP)?;
    std::thread::sleep(time);
    ground.sandbox.signal(Signal::CONT)?;
    Ok(format!("for {time:.1?}"))
}

fn freeze(ground: &mut Ground) -> anyhow::Result<String> {
    let time = ground.any_time(1000, 5000);
    frozen_for(ground, time)
}

fn long_freeze(ground: &mut Ground) -> anyhow::Result<String> {
    frozen_for(ground, Duration::from_secs(70))
}

/// Whatever is frozen goes on.
fn thaw(ground: &mut Ground) -> anyhow::Result<()> {
    ground.sandbox.thaw();
    Ok(())
}

fn runtime_kill(ground: &mut Ground) -> anyhow::Result<String> {
    let node = ground.any_node();
    let before = ground.sandbox.runtime(&node)?;
    kill_process(before, Signal::KILL)?;
    let took = eventually("containerd runs again", SOON, || {
        ensure!(ground.sandbox.runtime(&node)? != before, "it is still the one before");
        Ok(())
    })?;
    Ok(format!("{node}, another runs after {took:.1?}"))
}

/// A pod that serves, its node, and the process 1 of its container.
fn any_pod(ground: &mut Ground) -> anyhow::Result<(Value, String, Pid)> {
    let pods = ground.pods()?;
    let pod = ground.random.choice(pods).context("there is no pod")?;
    let id = pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap_or_default();
    let process = ground.sandbox.container(id.rsplit('/').next().unwrap_or_default())?;
    let node = pod["spec"]["nodeName"].as_str().and_then(|name| name.rsplit('-').next()).unwrap_or_default();
    let node = node.to_owned();
    Ok((pod, node, process))
}

fn restarts(pod: &Value) -> u64 {
    pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0)
}

fn path(pod: &Value) -> String {
    format!("{HERE}/pods/{}", pod["metadata"]["name"].as_str().unwrap_or_default())
}

/// A container that has died is started again; the pod goes if it would wait long before the next time.
fn started_again(ground: &Ground, pod: &Value) -> anyhow::Result<Duration> {
    let before = restarts(pod);
    let took = eventually("the death is told and the container started again", 2 * SOON, || {
        let now = ground.good("GET", &path(pod), None)?;
        let is_ready = now["status"]["containerStatuses"][0]["ready"] == true;
        ensure!(restarts(&now) > before && is_ready, "{}", now["status"]["containerStatuses"]);
        Ok(())
    })?;
    if before >= 1 {
        ground.good("DELETE", &path(pod), None)?;
    }
    Ok(took)
}

fn runtime_freeze(ground: &mut Ground) -> anyhow::Result<String> {
    let (pod, node, process) = any_pod(ground)?;
    let runtime = ground.sandbox.runtime(&node)?;
    kill_process(runtime, Signal::STOP)?;
    let before = ground.any_time(0, 1000);
    std::thread::sleep(before);
    kill_process(process, Signal::KILL)?;
    let after = ground.any_time(1000, 4000);
    std::thread::sleep(after);
    kill_process(runtime, Signal::CONT)?;
    let took = started_again(ground, &pod)?;
    Ok(format!("{node}, for {:.1?}; the pod is ready {took:.1?} later", before + after))
}

fn pod_kill(ground: &mut Ground) -> anyhow::Result<String> {
    let (pod, node, process) = any_pod(ground)?;
    kill_process(process, Signal::KILL)?;
    Ok(format!("{node}, ready again after {:.1?}", started_again(ground, &pod)?))
}

fn pod_delete(ground: &mut Ground) -> anyhow::Result<String> {
    let (pod, node, _) = any_pod(ground)?;
    ground.good("DELETE", &path(&pod), None)?;
    let took = eventually("the pod is gone", SOON, || {
        let code = ground.call("GET", &path(&pod), None)?.code;
        ensure!(code == 404, "it is answered with {code}");
        Ok(())
    })?;
    Ok(format!("{node}, gone after {took:.1?}"))
}

fn link_down_for(ground: &mut Ground, time: Duration) -> anyhow::Result<String> {
    let node = ground.any_node();
    let routes = |ground: &Ground| ground.sandbox.on(&node, &["ip", "route"]);
    let before = routes(ground)?;
    ground.sandbox.on(&node, &["ip", "link", "set", "eth0", "down"])?;
    std::thread::sleep(time);
    ground.sandbox.on(&node, &["ip", "link", "set", "eth0", "up"])?;
    let took = eventually("the routes are back", SOON, || {
        let now = routes(ground)?;
        ensure!(now == before, "{now}\nwere\n{before}");
        Ok(())
    })?;
    Ok(format!("{node} for {time:.1?}, routes back after {took:.1?}"))
}

fn link(ground: &mut Ground) -> anyhow::Result<String> {
    let time = ground.any_time(1000, 5000);
    link_down_for(ground, time)
}

fn long_link(ground: &mut Ground) -> anyhow::Result<String> {
    link_down_for(ground, Duration::from_secs(62))
}

fn links_up(ground: &mut Ground) -> anyhow::Result<()> {
    for node in ["node1", "node2"] {
        ground.sandbox.on(node, &["ip", "link", "set", "eth0", "up"])?;
    }
    Ok(())
}

fn route(ground: &mut Ground) -> anyhow::Result<String> {
    let node = ground.any_node();
    ground.sandbox.on(&node, &["ip", "route", "del", "default"])?;
    let took = eventually("the default route is back", SOON, || {
        ensure!(!ground.sandbox.on(&node, &["ip", "route", "show", "default"])?.is_empty(), "there is none");
        Ok(())
    })?;
    Ok(format!("{node}, back after {took:.1?}"))
}

fn rules(ground: &mut Ground) -> anyhow::Result<String> {
    let node = ground.any_node();
    let tables = |ground: &Ground| -> anyhow::Result<Vec<String>> {
        let mut tables: Vec<String> =
            ground.sandbox.on(&node, &["nft", "list", "tables"])?.lines().map(str::to_owned).collect();
        tables.sort();
        Ok(tables)
    };
    let before = tables(ground)?;
    ensure!(!before.is_empty(), "{node} has no rules");
    ground.sandbox.on(&node, &["nft", "flush", "ruleset"])?;
    let took = eventually("the rules are back", SOON, || {
        let now = tables(ground)?;
        ensure!(now == before, "{node} has {now:?} and had {before:?}");
        Ok(())
    })?;
    Ok(format!("{node}, back after {took:.1?}"))
}

/// Fills the disk until a write is refused, and checks what must go on.
fn fill(ground: &mut Ground) -> anyhow::Result<String> {
    let maps = format!("{HERE}/configmaps");
    let map = |name: &str| json!({"metadata": {"name": name, "labels": {"disk": ""}}, "data": {"x": "y".repeat(200_000)}});
    for number in 0..3 {
        ground.good("POST", &maps, Some(&map(&format!("before-{number}"))))?;
    }
    let mut more = 0;
    let begin = Instant::now();
    let refused = loop {
        ground.sandbox.fill_disk()?;
        more += 1;
        let answer = ground.call("POST", &maps, Some(&map(&format!("more-{more}"))))?;
        if !answer.is_good() {
            break answer;
        }
        ensure!(begin.elapsed() < SOON, "a full disk takes {more} objects");
    };
    ensure!(refused.message().contains("the disk is full"), "a write is refused with {refused:?}");
    let ready = ground.call("GET", "/readyz?verbose", None)?;
    ensure!(!ready.is_good() && ready.message().contains("the disk is full"), "/readyz says {ready:?}");
    ground.good("DELETE", &format!("{maps}/before-0"), None)?;
    Ok(format!("{more} objects of 200 kB fit in until a write was refused with {}", refused.code))
}

fn disk(ground: &mut Ground) -> anyhow::Result<String> {
    let found = fill(ground)?;
    let time = ground.any_time(500, 3000);
    std::thread::sleep(time);
    ready_with_room(ground).map(|took| format!("{found}; ready {took:.1?} after there was room"))
}

fn disk_kill(ground: &mut Ground) -> anyhow::Result<String> {
    let found = fill(ground)?;
    ground.sandbox.end(Signal::KILL)?;
    let ready = ground.sandbox.start()?;
    let gone = ground.call("GET", &format!("{HERE}/configmaps/before-0"), None)?.code;
    ensure!(gone == 404, "what was deleted while the disk was full is answered with {gone}");
    ground.good("DELETE", &format!("{HERE}/configmaps/before-1"), None)?;
    let took = ready_with_room(ground)?;
    Ok(format!("{found}; started again after {ready:.1?}, ready {took:.1?} after there was room"))
}

fn ready_with_room(ground: &mut Ground) -> anyhow::Result<Duration> {
    ground.sandbox.empty_disk()?;
    eventually("/readyz says that there is room", SOON, || ground.good("GET", "/readyz", None).map(drop))
}

/// Takes the ballast and the objects away.
fn empty(ground: &mut Ground) -> anyhow::Result<()> {
    drop(ground.sandbox.empty_disk());
    restart(ground)?;
    eventually("the objects of a full disk can be deleted", SOON, || {
        let maps = format!("{HERE}/configmaps?labelSelector=disk");
        ground.good("DELETE", &maps, None).map(drop)
    })?;
    Ok(())
}

/// The actions of these names, in the order of the table; without names those that are not long.
pub(crate) fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Action>> {
    if let Some(unknown) = names.iter().find(|name| ACTIONS.iter().all(|action| action.name != name.as_str()))
    {
        bail!("there is no action {unknown}; --list shows all");
    }
    let is_chosen = |action: &&Action| {
        if names.is_empty() { !action.is_long } else { names.iter().any(|name| name == action.name) }
    };
    Ok(ACTIONS.iter().filter(is_chosen).collect())
}
