//! The node's own containerd: configuration, start, take-over of a living one, stop.
//!
//! Containers do not depend on containerd: each has a shim that lives on when containerd stops, and that the
//! next containerd finds again by its state folder.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::{
    Config, Error,
    cri::{Client, messages::VersionRequest},
    image,
    sys::Readable,
};

mod settings;
mod snapshotter;

/// How long containerd may take until it answers; it reads its database and finds its shims first.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long containerd may take to end after SIGTERM before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Waiting for the socket looks again after this long; there is no event for "the server answers".
const START_STEP: Duration = Duration::from_millis(15);
/// The log is begun anew when it is larger than this at a start.
const MAX_LOG: u64 = 10 << 20;

/// Where one containerd keeps its things.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Images, snapshots and the database.
    pub root: PathBuf,
    /// Running tasks; must not outlive a boot of the machine.
    pub state: PathBuf,
    /// The gRPC socket.
    pub socket: PathBuf,
    /// The generated configuration; its path is how a process is recognised as ours.
    pub config: PathBuf,
    /// Process id of the containerd that was started last.
    pub pid: PathBuf,
    /// What containerd prints.
    pub log: PathBuf,
    /// CNI configuration files.
    pub cni_conf: PathBuf,
    /// CNI plugins.
    pub cni_bin: PathBuf,
}

impl Paths {
    /// The places of `config`'s containerd.
    pub fn of(config: &Config) -> Self {
        let runtime_dir = config.runtime_dir();
        let own = config.data_dir.join("containerd");
        Self {
            root: own.join("root"),
            state: runtime_dir.join("state"),
            socket: runtime_dir.join("containerd.sock"),
            config: own.join("config.toml"),
            pid: own.join("containerd.pid"),
            log: own.join("containerd.log"),
            cni_conf: config.cni_dir().join("conf"),
            cni_bin: config.cni_dir().join("bin"),
        }
    }
}

/// A running containerd, started by this process or by an earlier one.
#[derive(Debug)]
pub struct Containerd {
    paths: Paths,
    pid: Pid,
    handle: Readable,
    child: Option<tokio::process::Child>,
}

impl Containerd {
    /// Takes over the containerd that an earlier process left running, or starts one, and waits until it
    /// answers. It runs in the network namespace of the calling thread, with `environment` added to that of
    /// this process; one that runs with another environment is replaced.
    pub async fn start(paths: &Paths, environment: &BTreeMap<String, String>) -> Result<Self, Error> {
        for dir in [&paths.root, &paths.state, &paths.cni_conf, &paths.cni_bin] {
            fs::create_dir_all(dir).map_err(Error::file("create the folder", dir.clone()))?;
        }
        let snapshotter = snapshotter::choose(&paths.root);
        let settings = settings::render(paths, snapshotter, image::pause::NAME, environment);
        let unchanged = fs::read_to_string(&paths.config).is_ok_and(|old| old == settings);
        if let Some(pid) = recorded(paths) {
            let taken = Self { paths: paths.clone(), pid, handle: open(pid, paths)?, child: None };
            if unchanged && taken.answers().await {
                tracing::info!(pid = pid.as_raw_nonzero(), "took over the running containerd");
                return Ok(taken);
            }
            taken.stop().await;
        }
        // A disk that is full now must not take the settings that are there.
        if !unchanged {
            fs::write(&paths.config, settings).map_err(Error::file("write", paths.config.clone()))?;
        }
        let mut containerd = Self::spawn(paths, environment)?;
        containerd.wait_until_it_answers().await?;
        Ok(containerd)
    }

    fn spawn(paths: &Paths, environment: &BTreeMap<String, String>) -> Result<Self, Error> {
        let begin_anew = fs::metadata(&paths.log).is_ok_and(|log| log.len() > MAX_LOG);
        let log = fs::File::options()
            .create(true)
            .append(!begin_anew)
            .write(true)
            .truncate(begin_anew)
            .open(&paths.log)
            .map_err(Error::file("open", paths.log.clone()))?;
        let errors = log.try_clone().map_err(Error::file("open", paths.log.clone()))?;
        let child = tokio::process::Command::new("containerd")
            .arg("--config")
            .arg(&paths.config)
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // A process group of its own, so that Ctrl-C in a terminal does not reach it.
            .process_group(0)
            // It would tell our service manager that it is ready, as if it were us (sd_notify(3)).
            .env_remove("NOTIFY_SOCKET")
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => {
                    Error::MissingProgram { program: "containerd", package: "containerd" }
                }
                _ => Error::Containerd { reason: error.to_string(), log: paths.log.clone() },
            })?;
        let pid = child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
            .ok_or_else(|| Error::Containerd { reason: "it ended at once".into(), log: paths.log.clone() })?;
        fs::write(&paths.pid, pid.as_raw_nonzero().to_string())
            .map_err(Error::file("write", paths.pid.clone()))?;
        Ok(Self { handle: open(pid, paths)?, paths: paths.clone(), pid, child: Some(child) })
    }

    async fn wait_until_it_answers(&mut self) -> Result<(), Error> {
        let failed = |reason: String| Error::Containerd { reason, log: self.paths.log.clone() };
        let answers = async {
            while !self.answers().await {
                tokio::time::sleep(START_STEP).await;
            }
        };
        tokio::select! {
            () = answers => Ok(()),
            _ = self.handle.wait() => Err(failed("it ended".into())),
            () = tokio::time::sleep(START_TIMEOUT) => {
                Err(failed(format!("it did not answer within {} s", START_TIMEOUT.as_secs())))
            }
        }
    }

    async fn answers(&self) -> bool {
        if tokio::net::UnixStream::connect(&self.paths.socket).await.is_err() {
            return false;
        }
        let Ok(client) = Client::new(&self.paths.socket) else { return false };
        let version = client.version(VersionRequest::default());
        tokio::time::timeout(Duration::from_secs(5), version).await.is_ok_and(|answer| answer.is_ok())
    }

    /// Waits until containerd ends, whoever started it.
    pub async fn ended(&self) {
        // A pidfd is readable when its process ended (pidfd_open(2)).
        let _ = self.handle.wait().await;
    }

    /// Ends containerd; its containers go on running.
    pub async fn stop(mut self) {
        for signal in [Signal::TERM, Signal::KILL] {
            if kill_process(self.pid, signal).is_err() {
                break;
            }
            if tokio::time::timeout(STOP_TIMEOUT, self.ended()).await.is_ok() {
                break;
            }
            tracing::warn!("containerd did not end within {} s of a signal", STOP_TIMEOUT.as_secs());
        }
        if let Some(child) = &mut self.child {
            let _ = child.wait().await;
        }
        let _ = fs::remove_file(&self.paths.pid);
    }
}

fn open(pid: Pid, paths: &Paths) -> Result<Readable, Error> {
    pidfd_open(pid, PidfdFlags::NONBLOCK)
        .map_err(io::Error::from)
        .and_then(Readable::new)
        .map_err(|error| Error::Containerd { reason: error.to_string(), log: paths.log.clone() })
}

/// The containerd that an earlier process recorded, if that process id still is a containerd with our
/// configuration file.
pub(crate) fn recorded(paths: &Paths) -> Option<Pid> {
    let pid: i32 = fs::read_to_string(&paths.pid).ok()?.trim().parse().ok()?;
    let cmdline = fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).ok()?;
    is_ours(&cmdline, &paths.config).then(|| Pid::from_raw(pid)).flatten()
}

/// Whether a command line (`/proc/PID/cmdline`) is that of a containerd with configuration file `config`.
fn is_ours(cmdline: &[u8], config: &Path) -> bool {
    let mut words = cmdline.split(|&byte| byte == 0);
    let program = words.next().unwrap_or_default();
    program.ends_with(b"containerd") && words.any(|word| word == config.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_containerd_with_our_configuration_is_ours() {
        let config = Path::new("/data/config.toml");
        assert!(is_ours(b"containerd\0--config\0/data/config.toml\0", config));
        assert!(is_ours(b"/usr/bin/containerd\0--config\0/data/config.toml\0", config));
        assert!(!is_ours(b"containerd\0--config\0/etc/containerd/config.toml\0", config));
        assert!(!is_ours(b"vi\0/data/config.toml\0", config));
        assert!(!is_ours(b"", config));
    }
}
