//! dnsperf, and what a server used under it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use super::subjects::Subject;
use super::usage;

/// What came out of one run.
#[derive(Debug)]
pub(super) struct Run {
    completed: f64,
    user: f64,
    kernel: f64,
    /// Questions without an answer.
    pub(super) lost: f64,
    /// Answers a second.
    pub(super) per_second: f64,
    /// The size of an answer.
    pub(super) bytes: f64,
    /// How many answers of each sort.
    pub(super) rcodes: String,
}

impl Run {
    /// Answers in a second of the server's processor time.
    pub(super) fn per_cpu_second(&self) -> f64 {
        self.completed / (self.user + self.kernel)
    }

    /// Microseconds in the program for an answer.
    pub(super) fn user_micros(&self) -> f64 {
        self.user * 1e6 / self.completed
    }

    /// Microseconds in the kernel for an answer.
    pub(super) fn kernel_micros(&self) -> f64 {
        self.kernel * 1e6 / self.completed
    }
}

/// Asks the questions of a file over and over, for some seconds.
pub(super) fn ask(subject: &Subject, file: &Path, seconds: u64) -> anyhow::Result<Run> {
    let before = usage::processor(subject.id());
    let text = dnsperf(subject, file, &["-l", &seconds.to_string()])?;
    let after = usage::processor(subject.id());
    let line = |key| line(&text, key);
    let sizes = line("Average packet size:")?;
    let size = sizes.rsplit(' ').next().unwrap_or_default();
    Ok(Run {
        completed: number(line("Queries completed:")?)?,
        lost: number(line("Queries lost:")?)?,
        per_second: number(line("Queries per second:")?)?,
        bytes: number(size)?,
        rcodes: line("Response codes:")?.to_owned(),
        user: after.user - before.user,
        kernel: after.kernel - before.kernel,
    })
}

/// Asks the questions of a file once; returns how many were answered.
pub(super) fn once(subject: &Subject, file: &Path) -> anyhow::Result<f64> {
    number(line(&dnsperf(subject, file, &["-n", "1"])?, "Queries completed:")?)
}

/// What dnsperf prints.
fn dnsperf(subject: &Subject, file: &Path, how_long: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("dnsperf")
        .args(["-s", &subject.address.ip().to_string(), "-p", &subject.address.port().to_string()])
        .args(["-c", "16", "-T", "1", "-q", "400", "-e"])
        .args(how_long)
        .arg("-d")
        .arg(file)
        .output()
        .context("dnsperf cannot be started; install it (apt-get install dnsperf)")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "dnsperf: {text}{}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

fn line<'a>(text: &'a str, key: &str) -> anyhow::Result<&'a str> {
    let found = text.lines().find_map(|line| line.trim().strip_prefix(key));
    found.map(str::trim).with_context(|| format!("dnsperf does not tell {key}: {text}"))
}

fn number(text: &str) -> anyhow::Result<f64> {
    Ok(text.split([' ', ',']).next().unwrap_or_default().parse()?)
}
