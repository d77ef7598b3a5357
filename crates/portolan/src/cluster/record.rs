//! What a later `portolan down` must know of a cluster.
//!
//! The record is written before anything else is made, twice: into the cluster's data directory, where it
//! outlives a boot and says that the directory is Portolan's; and to a place of the machine's, where a cluster
//! is found by its name.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::shape::Shape;

/// Where clusters are found by name; it is empty again after a boot, like the processes and namespaces.
const FOLDER: &str = "/run/portolan";
/// The record in a data directory.
pub(super) const IN_DATA_DIR: &str = "cluster.json";

/// A cluster that was started on this machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    #[serde(default)]
    pub(crate) name: String,
    /// The process that runs or ran it.
    pub(crate) pid: u32,
    /// When that was started; none if a program of before noted it, or there is no process.
    #[serde(default)]
    pub(crate) started: Option<Started>,
    pub(crate) data_dir: PathBuf,
    pub(crate) sandbox: bool,
    /// All nodes that it ever had.
    pub(crate) nodes: Vec<RecordedNode>,
    pub(crate) runtime_endpoint: Option<PathBuf>,
    /// The administrator's kubeconfig.
    #[serde(default)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// None if it was made by a program that did not note it.
    #[serde(default)]
    pub(crate) shape: Option<Shape>,
}

/// States of a process that has ended (proc_pid_stat(5)).
const ENDED: [&str; 3] = ["Z", "X", "x"];

/// When a process was started. Its number alone is used again, for what may be another cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    /// Which run of the kernel it was (`/proc/sys/kernel/random/boot_id`).
    boot: String,
    /// Ticks since that began (proc_pid_stat(5), `starttime`).
    ticks: u64,
}

impl Started {
    /// That of a process that runs now. A process that has ended and that its parent has not waited for does not run.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the name, which may have blanks and brackets in it; the third field, the state, follows
        // the last bracket.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        let ticks = fields.nth(18)?.parse().ok()?;
        if ENDED.contains(&state) {
            return None;
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        Some(Self { boot, ticks })
    }
}

/// One of its nodes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RecordedNode {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
}

impl Record {
    fn file(name: &str) -> PathBuf {
        Path::new(FOLDER).join(format!("{name}.json"))
    }

    /// The record of the cluster `name`, if there is one: that of the machine, or that in `data_dir`.
    ///
    /// # Errors
    /// A record cannot be read, or the cluster keeps its data elsewhere.
    pub(crate) fn find(name: &str, data_dir: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let running = Self::read(name)?;
        let Some(data_dir) = data_dir else {
            let default = super::default_data_dir(name);
            return Ok(running.or(Self::in_data_dir(&default)?.filter(|record| record.name == name)));
        };
        let data_dir = std::path::absolute(data_dir)?;
        match running {
            Some(running) if running.data_dir != data_dir => bail!(
                "cluster {name} keeps its data in {}, not in {}; nothing was changed",
                running.data_dir.display(),
                data_dir.display()
            ),
            Some(running) => Ok(Some(running)),
            None => Ok(Self::in_data_dir(&data_dir)?.filter(|record| record.name == name)),
        }
    }

    /// The record of a cluster in the machine's place, if there is one.
    pub(crate) fn read(name: &str) -> anyhow::Result<Option<Self>> {
        let record = Self::from_file(&Self::file(name))?;
        Ok(record.map(|record| Self { name: name.to_owned(), ..record }))
    }

    /// The record in a data directory; none if the directory is not there or is not Portolan's.
    pub(crate) fn in_data_dir(data_dir: &Path) -> anyhow::Result<Option<Self>> {
        // Where the directory is now counts, not where it was when the record was written.
        let record = Self::from_file(&data_dir.join(IN_DATA_DIR))?;
        Ok(record.map(|record| Self { data_dir: data_dir.to_owned(), ..record }))
    }

    /// All clusters that this machine knows: those with a record in the machine's place, and those whose data
    /// lies in its default place. Records that cannot be read are passed over.
    pub(crate) fn all() -> Vec<Self> {
        let names = |folder: &Path| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
        };
        let mut names: Vec<String> = names(Path::new(FOLDER))
            .iter()
            .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
            .chain(super::default_data_dir("x").parent().into_iter().flat_map(names))
            .collect();
        names.sort();
        names.dedup();
        names.iter().filter_map(|name| Self::find(name, None).ok().flatten()).collect()
    }

    fn from_file(file: &Path) -> anyhow::Result<Option<Self>> {
        let text = match fs::read(file) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            result => result.with_context(|| format!("{} cannot be read", file.display()))?,
        };
        let record = serde_json::from_slice(&text);
        Ok(Some(
            record.with_context(|| format!("the record {} is damaged; remove it by hand", file.display()))?,
        ))
    }

    /// Writes the record to both places, each whole or not at all.
    ///
    /// # Errors
    /// A place cannot be written, and does not hold this record already.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        let write = |file: &Path, text: &str| {
            apiserver::pki::write_private(file, text)
                .with_context(|| format!("the record {} cannot be written", file.display()))
        };
        write(&Self::file(&self.name), &text)?;
        // The disk of the data may be full, and the cluster must start all the same.
        let kept = Self { pid: 0, started: None, ..self.clone() };
        let (file, text) = (self.data_dir.join(IN_DATA_DIR), serde_json::to_string_pretty(&kept)?);
        if fs::read_to_string(&file).is_ok_and(|present| present == text) {
            return Ok(());
        }
        write(&file, &text)
    }

    /// Removes the record from both places.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for file in [self.data_dir.join(IN_DATA_DIR), Self::file(&self.name)] {
            match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the process still runs: that one, since numbers of processes are used again.
    pub(crate) fn is_running(&self) -> bool {
        if let Some(started) = &self.started {
            return Started::of(self.pid).as_ref() == Some(started);
        }
        // A record of before: what has the name of this program is taken for it.
        let own = std::env::current_exe().ok();
        let theirs = fs::read_link(format!("/proc/{}/exe", self.pid)).ok();
        let name =
            |path: &Option<PathBuf>| path.as_ref().and_then(|path| path.file_name().map(ToOwned::to_owned));
        // A replaced program is shown with a suffix.
        let text =
            |path: &Option<PathBuf>| name(path).map(|name| name.to_string_lossy().replace(" (deleted)", ""));
        theirs.is_some() && text(&own) == text(&theirs)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    fn record(pid: u32, started: Option<Started>) -> Record {
        let text = serde_json::json!({"pid": pid, "data_dir": "/", "sandbox": true, "nodes": []});
        Record { started, ..serde_json::from_value(text).unwrap() }
    }

    #[test]
    fn another_process_of_the_same_number_is_not_the_clusters() {
        let pid = std::process::id();
        let started = Started::of(pid).unwrap();
        assert!(record(pid, Some(started.clone())).is_running());
        assert!(record(pid, None).is_running(), "a record of before");
        assert!(!record(pid, Some(Started { ticks: started.ticks + 1, ..started.clone() })).is_running());
        assert!(!record(pid, Some(Started { boot: "before".into(), ..started })).is_running());
        assert!(Started::of(u32::MAX).is_none());
    }

    #[test]
    fn a_process_that_has_ended_does_not_run_although_nobody_has_waited_for_it() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let started = Started::of(child.id());
        assert!(record(child.id(), started.clone()).is_running());
        child.kill().unwrap();
        let patience = Instant::now() + Duration::from_secs(10);
        while record(child.id(), started.clone()).is_running() {
            assert!(Instant::now() < patience, "it counts as running");
            thread::sleep(Duration::from_millis(1));
        }
        child.wait().unwrap();
    }
}
