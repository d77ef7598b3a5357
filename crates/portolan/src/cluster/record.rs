//! What a later `portolan down` must know of a cluster, kept outside of the cluster's own data.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// Where the records are; it is empty again after a boot, like everything they speak of.
const FOLDER: &str = "/run/portolan";

/// A cluster that was started on this machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// The process that runs or ran it.
    pub(super) pid: u32,
    pub(super) data_dir: PathBuf,
    pub(super) sandbox: bool,
    pub(super) nodes: Vec<RecordedNode>,
    pub(super) runtime_endpoint: Option<PathBuf>,
}

/// One of its nodes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RecordedNode {
    pub(super) name: String,
    pub(super) address: IpAddr,
}

impl Record {
    fn file(name: &str) -> PathBuf {
        Path::new(FOLDER).join(format!("{name}.json"))
    }

    /// The record of a cluster, if there is one.
    pub(super) fn read(name: &str) -> anyhow::Result<Option<Self>> {
        let file = Self::file(name);
        let text = match fs::read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.with_context(|| format!("{} cannot be read", file.display()))?,
        };
        let record = serde_json::from_slice(&text);
        Ok(Some(
            record
                .with_context(|| format!("{} is damaged; give --data-dir and remove it", file.display()))?,
        ))
    }

    /// Writes the record, whole or not at all.
    pub(super) fn write(&self, name: &str) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        Ok(apiserver::pki::write_private(&Self::file(name), &text)?)
    }

    /// Removes the record.
    pub(super) fn remove(name: &str) -> io::Result<()> {
        match fs::remove_file(Self::file(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the process still runs, and is this program: pids are used again.
    pub(super) fn is_running(&self) -> bool {
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
