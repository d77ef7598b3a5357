//! Removing a node without a trace, also after a crash: processes, mounts, cgroups, interfaces, folders.
//!
//! Nothing here asks containerd, which may be dead: what belongs to the node is recognised by its paths and
//! its cgroup.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process},
};

use crate::{
    Config, Error,
    containerd::{self, Paths},
    image, mounts, network,
};

/// Where the cgroup hierarchies are mounted.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";
/// How long killed processes may take to vanish.
const DEATH_TIMEOUT: Duration = Duration::from_secs(10);
/// How often is looked whether they have.
const DEATH_STEP: Duration = Duration::from_millis(10);

/// Stops and removes everything that the node `config` ever started or made, its data included. Continues
/// over errors and reports them all. Must be called in the node's network namespace to remove its bridge and
/// routes; elsewhere they go with the namespace.
pub async fn remove_all(config: &Config) -> Result<(), Error> {
    let paths = Paths::of(config);
    let mut errors = Vec::new();
    let mut note = |what: &str, result: io::Result<()>| {
        if let Err(error) = result {
            errors.push(format!("{what}: {error}"));
        }
    };
    if let Some(pid) = containerd::recorded(&paths) {
        note("containerd", kill_all(&[pid]).await);
    }
    // Shims first: they would write their tasks' ends into folders that are being removed.
    let shims = shims_of(&paths.socket);
    let sockets: Vec<PathBuf> = shim_sockets(&paths.state);
    note("the containers' shims", kill_all(&shims).await);
    let cgroups = cgroups_of(&config.cgroup_parent);
    let processes: Vec<Pid> = cgroups.iter().flat_map(|cgroup| members(cgroup)).collect();
    note("the containers", kill_all(&processes).await);
    // What a pod has mounted in its volumes may be the user's: while it is there, no folder is removed.
    let unmounted =
        mounts::detach_below(&config.data_dir).and_then(|()| mounts::detach_below(&config.runtime_dir()));
    let is_bare = unmounted.is_ok();
    note("the mounts", unmounted);
    for cgroup in &cgroups {
        note(&format!("the cgroup {}", cgroup.display()), remove_cgroup(cgroup));
        remove_empty_parents(cgroup);
    }
    for path in sockets {
        note(&path.display().to_string(), absent_is_fine(fs::remove_file(&path)));
    }
    note("the pod network", network::remove(&config.name).await);
    if is_bare {
        let dir = config.runtime_dir();
        note(&dir.display().to_string(), absent_is_fine(fs::remove_dir_all(&dir)));
        remove_data(config, &mut note);
    }
    if let Some(shared) = config.runtime_dir().parent() {
        // Fails while another node has its sockets there.
        let _ = fs::remove_dir(shared);
    }
    if errors.is_empty() { Ok(()) } else { Err(Error::Remains(errors)) }
}

/// Removes what the node has made in its data directory, and the directory if nothing else is in it. The record
/// goes last, so that a removal that was broken off can be tried again.
fn remove_data(config: &Config, note: &mut impl FnMut(&str, io::Result<()>)) {
    let own = ["containerd", "cni", "pods", "pod-files"].map(|name| config.data_dir.join(name));
    for dir in own {
        note(&dir.display().to_string(), absent_is_fine(fs::remove_dir_all(&dir)));
    }
    for file in [config.data_dir.join("pause.tar"), config.data_dir.join(image::BOOK), config.record()] {
        note(&file.display().to_string(), absent_is_fine(fs::remove_file(&file)));
    }
    for dir in [config.data_dir.join("images"), config.data_dir.clone()] {
        let removed = fs::remove_dir(&dir);
        let removed = removed.or_else(|error| match error.kind() {
            // Archives and files that others have put there stay.
            io::ErrorKind::DirectoryNotEmpty => Ok(()),
            _ => Err(error),
        });
        note(&dir.display().to_string(), absent_is_fine(removed));
    }
}

/// Kills processes and waits until they are gone.
async fn kill_all(pids: &[Pid]) -> io::Result<()> {
    for &pid in pids {
        match kill_process(pid, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let deadline = Instant::now() + DEATH_TIMEOUT;
    for pid in pids {
        while is_alive(*pid) {
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("process {} does not end", pid.as_raw_nonzero())));
            }
            tokio::time::sleep(DEATH_STEP).await;
        }
    }
    Ok(())
}

/// Whether a process exists and is no zombie: whoever started it may be gone, or slow to reap it.
fn is_alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start().chars().next();
    !matches!(state, None | Some('Z' | 'X'))
}

/// The shims whose containerd listens on `socket`.
fn shims_of(socket: &Path) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let cmdline = fs::read(entry.path().join("cmdline")).ok()?;
            is_shim_of(&cmdline, socket).then(|| Pid::from_raw(pid))?
        })
        .collect()
}

fn is_shim_of(cmdline: &[u8], socket: &Path) -> bool {
    let words: Vec<&[u8]> = cmdline.split(|&byte| byte == 0).collect();
    let socket = socket.as_os_str().as_encoded_bytes();
    let is_shim = words.first().is_some_and(|program| {
        program.rsplit(|&byte| byte == b'/').next().is_some_and(|name| name.starts_with(b"containerd-shim"))
    });
    is_shim && words.windows(2).any(|pair| pair[0] == b"-address" && pair[1] == socket)
}

/// The sockets of shims, which lie outside of containerd's state folder but are named in it.
fn shim_sockets(state: &Path) -> Vec<PathBuf> {
    let tasks = state.join("io.containerd.runtime.v2.task/k8s.io");
    let bundles = fs::read_dir(tasks).into_iter().flatten().flatten();
    bundles
        .filter_map(|bundle| fs::read_to_string(bundle.path().join("address")).ok())
        .filter_map(|address| Some(PathBuf::from(address.trim().strip_prefix("unix://")?)))
        .collect()
}

/// The node's cgroup in every hierarchy that has it.
fn cgroups_of(parent: &str) -> Vec<PathBuf> {
    let relative = parent.trim_matches('/');
    if relative.is_empty() {
        return Vec::new();
    }
    let hierarchies = fs::read_dir(CGROUP_ROOT).into_iter().flatten().flatten().map(|entry| entry.path());
    let candidates = hierarchies.chain([PathBuf::from(CGROUP_ROOT)]).map(|root| root.join(relative));
    candidates.filter(|cgroup| cgroup.join("cgroup.procs").exists()).collect()
}

/// The processes in a cgroup and those below it.
fn members(cgroup: &Path) -> Vec<Pid> {
    let own = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let own = own.lines().filter_map(|line| Pid::from_raw(line.trim().parse().ok()?));
    own.chain(children(cgroup).flat_map(|child| members(&child))).collect()
}

fn remove_cgroup(cgroup: &Path) -> io::Result<()> {
    for child in children(cgroup) {
        remove_cgroup(&child)?;
    }
    absent_is_fine(fs::remove_dir(cgroup))
}

/// Removes the cgroups above a node's, up to the hierarchy's root, as long as no other node uses them.
fn remove_empty_parents(cgroup: &Path) {
    let is_shared = |dir: &&Path| dir.components().count() > Path::new(CGROUP_ROOT).components().count() + 1;
    for parent in cgroup.ancestors().skip(1).take_while(is_shared) {
        if fs::remove_dir(parent).is_err() {
            return;
        }
    }
}

fn children(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shim_is_ours_only_if_it_reports_to_our_socket() {
        let shim = b"/usr/bin/containerd-shim-runc-v2\0-namespace\0k8s.io\0-id\0x\0-address\0/run/a.sock\0";
        assert!(is_shim_of(shim, Path::new("/run/a.sock")));
        assert!(!is_shim_of(shim, Path::new("/run/b.sock")));
        assert!(!is_shim_of(b"vi\0-address\0/run/a.sock\0", Path::new("/run/a.sock")));
    }

    #[test]
    fn the_root_cgroup_is_never_a_nodes() {
        assert!(cgroups_of("/").is_empty());
    }
}
