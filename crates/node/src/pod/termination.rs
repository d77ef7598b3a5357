//! What a container says of its end: the file at its terminationMessagePath, or the end of its log.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, Pod};

use super::{disk, names};
use crate::{
    Config,
    cri::messages::Mount,
    logs::{Options, Reader},
};

/// Where containers write their message when they name no other path (core/v1, `terminationMessagePath`).
const DEFAULT_PATH: &str = "/dev/termination-log";
/// A longer message is cut, in bytes.
const MAX_MESSAGE: u64 = 4096;
/// A message from the log has no more bytes and lines than these.
const MAX_LOG_MESSAGE: usize = 2048;
const MAX_LOG_LINES: usize = 80;

/// The file that a container's n-th run finds at its terminationMessagePath.
fn file(config: &Config, pod: &Pod, container: &str, attempt: u32) -> PathBuf {
    let dir = names::files_dir(config, &names::uid(pod)).join("termination");
    dir.join(container).join(attempt.to_string())
}

/// Makes the file for a run; everyone may write to it, whoever the container runs as.
///
/// # Errors
/// The system's, from writing.
pub(super) fn mount(config: &Config, pod: &Pod, container: &Container, attempt: u32) -> io::Result<Mount> {
    let path = file(config, pod, &container.name, attempt);
    if let Some(dir) = path.parent() {
        disk::make_private(dir)?;
    }
    fs::write(&path, "")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    let inside = container.termination_message_path.as_deref().filter(|path| !path.is_empty());
    Ok(Mount {
        container_path: inside.unwrap_or(DEFAULT_PATH).to_owned(),
        host_path: path.display().to_string(),
        ..Default::default()
    })
}

/// The message of a run that ended with `code`; empty if there is none.
pub(super) fn message(config: &Config, pod: &Pod, container: &Container, attempt: u32, code: i32) -> String {
    let written = read(&file(config, pod, &container.name, attempt)).unwrap_or_default();
    let asks_log = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    if written.is_empty() && asks_log && code != 0 {
        return end_of(&names::log_file(config, pod, &container.name, attempt)).unwrap_or_default();
    }
    written
}

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    disk::open_regular(path)?.take(MAX_MESSAGE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn end_of(log: &Path) -> io::Result<String> {
    let options =
        Options { tail_lines: Some(MAX_LOG_LINES), since: None, timestamps: false, limit_bytes: None };
    let mut reader = Reader::open(log, options)?;
    let mut bytes = Vec::new();
    while let Some(part) = reader.next()? {
        bytes.extend(part);
        let surplus = bytes.len().saturating_sub(MAX_LOG_MESSAGE);
        bytes.drain(..surplus);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::tests::config;

    #[test]
    fn the_message_is_the_file_or_on_demand_the_end_of_the_log_of_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(&dir.path().display().to_string());
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"}})).unwrap();
        let container = |policy: &str| {
            let container = json!({"name": "c", "terminationMessagePolicy": policy});
            serde_json::from_value::<Container>(container).unwrap()
        };
        let (file_only, or_log) = (container("File"), container("FallbackToLogsOnError"));
        let mount = mount(&config, &pod, &file_only, 0).unwrap();
        assert_eq!(mount.container_path, "/dev/termination-log");
        let log = names::log_file(&config, &pod, "c", 0);
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        fs::write(&log, "2026-01-01T00:00:00Z stdout F last words\n").unwrap();
        let said = |container: &Container, code| message(&config, &pod, container, 0, code);
        assert_eq!(said(&file_only, 1), "");
        assert_eq!(said(&or_log, 1), "last words\n");
        assert_eq!(said(&or_log, 0), "");
        fs::write(&mount.host_path, "x".repeat(5000)).unwrap();
        assert_eq!(said(&or_log, 1).len(), 4096);
        assert_eq!(message(&config, &pod, &file_only, 1, 1), "", "each run has a file of its own");
    }
}
