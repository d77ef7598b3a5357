//! A cluster under clients while everything around it fails.
//!
//! A [`ground`] is a sandbox on a small disk of its own, with pods behind a Service; with [`writers`], whose every
//! acknowledged write is kept in a [`ledger`]; with a [`watcher`] that must see those writes in order; and with
//! [`probes`] that ask for a page and a name all the time. One of the [`actions`] after another breaks something and
//! makes it whole again, and then the [`checker`] waits until all is well.
//!
//! The same seed gives the same actions with the same choices. What happens at the same time as they do is not
//! repeated: threads and networks have a time of their own.

mod actions;
mod api;
mod checker;
mod ground;
mod hostile;
mod ledger;
mod probes;
mod sandbox;
mod watcher;
mod writers;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actions::{Action, Traffic};
use ground::Ground;

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program `portolan`.
    pub program: PathBuf,
    /// What decides by chance comes from this number.
    pub seed: u64,
    /// Actions by chance for so long; each once if there is no time.
    pub time: Option<Duration>,
    /// Only these actions.
    pub only: Vec<String>,
}

/// The names of all actions and what they do.
pub fn list() -> impl Iterator<Item = (&'static str, &'static str)> {
    actions::ACTIONS.iter().map(|action| (action.name, action.what))
}

/// Runs, prints each action and what it found, and returns the promises that were not kept.
///
/// # Errors
/// The cluster could not be made at all.
pub fn run(options: &Options) -> anyhow::Result<Vec<String>> {
    let chosen = actions::chosen(&options.only)?;
    println!("seed {}", options.seed);
    let mut ground = Ground::start(&options.program, options.seed)?;
    let begin = Instant::now();
    let mut violations = Vec::new();
    match checker::settle(&mut ground) {
        Ok(took) => println!("{} the cluster is well after {took:.1?}", clock(begin)),
        Err(wrong) => violations.extend(tell("the beginning", wrong)),
    }
    let mut next = 0;
    let mut is_well = violations.is_empty();
    loop {
        let action = match options.time {
            Some(time) if begin.elapsed() < time => {
                let long = options.only.is_empty() && ground.random.usize(..15) == 0;
                let all: Vec<&Action> = actions::ACTIONS.iter().filter(|action| action.is_long).collect();
                ground.random.choice(if long { all } else { chosen.clone() })
            }
            Some(_) => None,
            None => chosen.get(next).copied(),
        };
        // A cluster that does not get well says nothing about the next action.
        let Some(action) = action.filter(|_| is_well) else { break };
        next += 1;
        let found = carry_out(&mut ground, action, begin);
        is_well = found.is_well;
        violations.extend(tell(action.name, found.wrong));
    }
    let ledger = ground.shared.ledger().acknowledged;
    let (watches, lists) = (&ground.watches.watches, &ground.watches.lists);
    println!(
        "{} {next} actions, {ledger} acknowledged writes, {} watches that ended, {} lists of the watcher, {} violations",
        clock(begin),
        watches.load(Ordering::Relaxed),
        lists.load(Ordering::Relaxed),
        violations.len()
    );
    if !violations.is_empty() {
        let folder = Path::new("target/chaos").join(format!("{}-{}", options.seed, std::process::id()));
        ground.sandbox.keep_logs(&folder)?;
        println!("the logs are kept in {}", folder.display());
    }
    Ok(violations)
}

/// What came of an action.
struct Found {
    /// What was not as promised.
    wrong: Vec<String>,
    /// Whether the cluster was well again in the end.
    is_well: bool,
}

/// Does one action and waits until all is well.
fn carry_out(ground: &mut Ground, action: &Action, run: Instant) -> Found {
    let begin = Instant::now();
    let requests = ground.shared.requests.clone();
    for (_, timeline) in ground.probes.all() {
        timeline.forget(begin);
    }
    requests.forget(begin);
    let mut wrong = Vec::new();
    let found = (action.run)(ground).unwrap_or_else(|error| {
        wrong.push(format!("{error:#}"));
        String::new()
    });
    let mut is_well = true;
    if let Err(error) = (action.undo)(ground) {
        is_well = false;
        wrong.push(format!("it cannot be undone: {error:#}"));
    }
    let settled = checker::settle(ground).unwrap_or_else(|more| {
        is_well = false;
        wrong.extend(more);
        Duration::ZERO
    });
    let mut gaps = Vec::new();
    for (name, timeline) in ground.probes.all() {
        let summary = timeline.since(begin);
        gaps.push(format!("{name} {}/{} {:.1?}", summary.failed.len(), summary.asked, summary.gap));
        if name == "DNS" {
            // Its server is in the process; that it answers again is checked at the end.
            continue;
        }
        match action.traffic {
            Traffic::Flows => wrong.extend(
                summary
                    .failed
                    .iter()
                    .map(|(at, why)| format!("{name}: a request failed {at:.1?} after the beginning: {why}")),
            ),
            Traffic::Returns(seconds) if summary.gap > Duration::from_secs(seconds) => {
                wrong.push(format!("{name}: {:.1?} without an answer", summary.gap));
            }
            Traffic::Returns(_) => {}
        }
    }
    let writes = requests.since(begin);
    println!(
        "{} {}: {}\n      failed/asked and longest time without an answer: {}, writes {}/{} {:.1?}; well after {settled:.1?}; \
         {} MiB",
        clock(run),
        action.name,
        if found.is_empty() { action.what } else { &found },
        gaps.join(", "),
        writes.failed.len(),
        writes.asked,
        writes.gap,
        ground.sandbox.memory()
    );
    Found { wrong, is_well }
}

fn tell(what: &str, wrong: Vec<String>) -> Vec<String> {
    let wrong: Vec<String> = wrong.into_iter().map(|wrong| format!("{what}: {wrong}")).collect();
    for wrong in &wrong {
        println!("      VIOLATION {wrong}");
    }
    wrong
}

/// The time of the run.
fn clock(begin: Instant) -> String {
    let seconds = begin.elapsed().as_secs();
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}
