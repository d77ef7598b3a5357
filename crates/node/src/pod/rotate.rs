//! Keeping containers' logs from filling the disk: a log that has grown large is set aside and begun anew.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{context::Context, disk, names};
use crate::{cri::messages::ReopenContainerLogRequest, logs};

/// A log is set aside when it is larger than this (the kubelet's `containerLogMaxSize`).
const MAX_SIZE: u64 = 10 << 20;
/// Logs that are set aside for each run of a container; older ones are removed (`containerLogMaxFiles`, with
/// the one that is being written).
const KEPT: usize = 4;
/// How often sizes are looked at: a file has no event for "large".
const PERIOD: Duration = Duration::from_secs(10);

/// Watches the sizes of all running containers' logs, for ever.
pub(crate) async fn rotate_logs(context: Arc<Context>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for (pod, container, run) in context.pods.running() {
            let path = names::log_file(&context.config, &pod, &container, run.attempt);
            let size = {
                let path = path.clone();
                disk::run(move || fs::symlink_metadata(path)).await
            };
            if size.is_ok_and(|log| log.is_file() && log.len() > MAX_SIZE)
                && let Err(error) = rotate(&context, &path, run.id).await
            {
                tracing::warn!("cannot rotate the log {}: {error}", path.display());
            }
        }
    }
}

async fn rotate(context: &Context, path: &Path, container_id: String) -> io::Result<()> {
    let own = path.to_owned();
    let aside = disk::run(move || set_aside(&own, Timestamp::now())).await?;
    if let Err(error) = context.runtime.reopen_container_log(ReopenContainerLogRequest { container_id }).await
    {
        // The runtime goes on writing into the old file: it must keep its name.
        let own = path.to_owned();
        disk::run(move || fs::rename(aside, own)).await?;
        return Err(io::Error::other(error));
    }
    let own = path.to_owned();
    disk::run(move || {
        let rotated = rotated(&own);
        rotated[..rotated.len().saturating_sub(KEPT)].iter().try_for_each(fs::remove_file)
    })
    .await
}

/// Moves a log away, to its name with the time behind it, which no other log has: the kubelet's form, and as fine as
/// the clock is.
fn set_aside(path: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", now.strftime("%Y%m%d-%H%M%S.%9f")));
    renameat_with(CWD, path, CWD, &name, RenameFlags::NOREPLACE)?;
    Ok(name.into())
}

/// The logs that were set aside from `path`, the oldest first; none when that cannot be seen.
fn rotated(path: &Path) -> Vec<PathBuf> {
    logs::set_aside_from(path).unwrap_or_default()
}

/// Removes a run's log with all that was set aside from it.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    for old in rotated(path) {
        fs::remove_file(old)?;
    }
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_set_aside_are_found_in_the_order_of_their_time_and_go_with_their_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        fs::write(dir.path().join("1.log"), "another run").unwrap();
        for second in [200, 100] {
            fs::write(&path, "x").unwrap();
            set_aside(&path, Timestamp::from_second(second).unwrap()).unwrap();
        }
        fs::write(&path, "x").unwrap();
        assert!(set_aside(&path, Timestamp::from_second(100).unwrap()).is_err(), "none is replaced");
        fs::remove_file(&path).unwrap();
        let names: Vec<_> =
            rotated(&path).iter().map(|path| path.file_name().unwrap().display().to_string()).collect();
        assert_eq!(names, ["0.log.19700101-000140.000000000", "0.log.19700101-000320.000000000"]);
        fs::write(&path, "x").unwrap();
        remove(&path).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
