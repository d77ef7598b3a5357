//! What must hold when nothing is broken any more.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::ground::{Ground, PODS, eventually};
use super::sandbox::Sandbox;
use super::watcher;

/// So long may a cluster take to be well again; the machine may be busy, and pods wait before they start again.
const PATIENCE: Duration = Duration::from_secs(90);
/// So many requests of each kind in a row must be answered.
const ANSWERS: usize = 5;
/// The most memory of the process in MiB.
const MEMORY: u64 = 600;

/// Waits until the cluster is well; how long that took.
///
/// # Errors
/// What is wrong, each of it.
pub(crate) fn settle(ground: &mut Ground) -> Result<Duration, Vec<String>> {
    let begin = Instant::now();
    let mut wrong = Vec::new();
    if ground.sandbox.has_crashed() {
        return Err(vec!["portolan has ended by itself".to_owned()]);
    }
    let mut look = |what: &str, look: &mut dyn FnMut() -> anyhow::Result<()>| {
        if let Err(error) = eventually(what, PATIENCE.saturating_sub(begin.elapsed()), look) {
            wrong.push(format!("{error:#}"));
        }
    };
    let ground = &*ground;
    look("nodes are ready", &mut || nodes(ground));
    look("pods are ready", &mut || pods(ground));
    look("requests are answered", &mut || requests(ground, begin));
    look("the watcher has seen every acknowledged write", &mut || seen(ground));
    look("portolan status says that all is well", &mut || {
        let said = ground.sandbox.status()?;
        ensure!(said.contains("all is well"), "{said}");
        Ok(())
    });
    look("memory is given back", &mut || {
        let memory = ground.sandbox.memory();
        ensure!(memory <= MEMORY, "the process has {memory} MiB");
        Ok(())
    });
    wrong.extend(written(ground));
    if wrong.is_empty() { Ok(begin.elapsed()) } else { Err(wrong) }
}

fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

fn nodes(ground: &Ground) -> anyhow::Result<()> {
    let list = ground.good("GET", "/api/v1/nodes", None)?;
    let ready = list["items"].as_array().into_iter().flatten().filter(|node| is_ready(node)).count();
    ensure!(ready == Sandbox::NODES, "{ready} nodes are ready");
    Ok(())
}

fn pods(ground: &Ground) -> anyhow::Result<()> {
    let pods = ground.pods()?;
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let status = || {
        let state =
            |pod: &Value| format!("{}: {}", pod["metadata"]["name"], pod["status"]["containerStatuses"]);
        pods.iter().filter(|pod| !is_ready(pod)).map(state).collect::<Vec<_>>().join("; ")
    };
    ensure!(pods.len() == PODS && ready == PODS, "{ready} of {} pods are ready: {}", pods.len(), status());
    Ok(())
}

fn requests(ground: &Ground, since: Instant) -> anyhow::Result<()> {
    for (name, timeline) in ground.probes.all() {
        if !timeline.is_well(since, ANSWERS) {
            let failed = timeline.since(since).failed;
            bail!("{name}: {}", failed.last().map_or("too few answers yet", |(_, why)| why.as_str()));
        }
    }
    ensure!(ground.shared.requests.is_well(since, ANSWERS), "writes are not acknowledged");
    Ok(())
}

/// While nobody writes, the watcher catches up.
fn seen(ground: &Ground) -> anyhow::Result<()> {
    let _quiet = ground.runtime.block_on(ground.shared.gate.write());
    let begin = Instant::now();
    loop {
        let behind: Vec<String> = ground.shared.ledger().behind().into_iter().map(str::to_owned).collect();
        if behind.is_empty() {
            return Ok(());
        }
        ensure!(begin.elapsed() < Duration::from_secs(5), "it has not seen all of {}", behind.join(", "));
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Compares what is there with what was acknowledged. What is lost does not come back, so there is no second look.
fn written(ground: &Ground) -> Vec<String> {
    let _quiet = ground.runtime.block_on(ground.shared.gate.write());
    let listed =
        ground.runtime.block_on(watcher::list(&ground.api)).context("what was written cannot be listed");
    let mut ledger = ground.shared.ledger();
    let mut wrong = std::mem::take(&mut ledger.violations);
    match listed {
        Ok((_, objects)) => wrong.extend(ledger.compare(&objects)),
        Err(error) => wrong.push(format!("{error:#}")),
    }
    ledger.forget();
    wrong
}
