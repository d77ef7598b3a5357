//! Instructions for an answer, counted by valgrind's callgrind: about the same in every run, whatever else the machine
//! does. CoreDNS is left out: valgrind does not follow Go's stacks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::load;
use super::mixes::Mix;
use super::subjects::Subject;
use super::usage;

/// Parts of the names of functions that take a lock or memory, or give it back.
const TOLD: [&str; 8] = ["malloc", "calloc", "realloc", "free", "mutex", "rwlock", "futex", "Semaphore"];

/// What answers took.
#[derive(Debug)]
pub(super) struct Count {
    /// Instructions of all threads for an answer.
    pub(super) per_answer: f64,
    /// The functions that take a lock or memory, of those that ran on the threads that answered.
    pub(super) told: BTreeSet<String>,
}

/// The command under callgrind, which writes into a folder.
pub(super) fn counted(command: &Command, folder: &Path) -> anyhow::Result<Command> {
    fs::create_dir_all(folder)?;
    let mut counted = Command::new("valgrind");
    counted.args(["--tool=callgrind", "--separate-threads=yes", "--trace-children=yes", "--quiet"]);
    counted.arg(format!("--callgrind-out-file={}/%p", folder.display())).arg("--");
    counted.arg(command.get_program()).args(command.get_args());
    Ok(counted)
}

/// Asks a mix twice, and counts the second time.
pub(super) fn count(subject: &Subject, mix: &Mix, file: &Path, folder: &Path) -> anyhow::Result<Count> {
    load::once(subject, file)?;
    dump(subject, folder)?;
    let answers = load::once(subject, file)?;
    let mut threads = Vec::new();
    for path in dump(subject, folder)? {
        let text = fs::read_to_string(&path)?;
        let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
        let totals = totals.with_context(|| format!("{} has no totals", path.display()))?;
        threads.push((totals.trim().parse::<u64>()?, text));
    }
    let total: u64 = threads.iter().map(|(count, _)| count).sum();
    ensure!(answers > 0.0 && total > 0, "{} answers nothing of {}", subject.name, mix.name);
    let answering = threads.iter().filter(|(count, _)| count * 10 > total);
    let told = answering.flat_map(|(_, text)| functions(text));
    let told = told.filter(|name| TOLD.iter().any(|part| name.contains(part))).map(str::to_owned);
    Ok(Count { per_answer: total as f64 / answers, told: told.collect() })
}

/// The functions that ran, from lines like `fn=(12) name`.
fn functions(text: &str) -> impl Iterator<Item = &str> {
    let told =
        text.lines().filter_map(|line| line.strip_prefix("fn=(").or_else(|| line.strip_prefix("cfn=(")));
    told.filter_map(|rest| Some(rest.split_once(") ")?.1))
}

/// Has the counts so far written and begins anew; returns the new files.
fn dump(subject: &Subject, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let files = || -> anyhow::Result<BTreeSet<PathBuf>> {
        let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
        entries.collect()
    };
    let before = files()?;
    for id in usage::family(subject.id()) {
        let output = Command::new("callgrind_control").arg("--dump").arg(id.to_string()).output();
        let output = output.context("callgrind_control cannot be started; install valgrind")?;
        ensure!(output.status.success(), "callgrind_control: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(files()?.difference(&before).cloned().collect())
}
