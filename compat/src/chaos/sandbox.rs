//! The cluster that is attacked, on a disk of its own. It is removed with its value, whatever state it is in.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use testbed::Namespace;

use crate::process::{Process, last_words};

/// How long the program may take to start.
const PATIENCE: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_millis(20);
/// Enough for two runtimes with the stand-in images.
const DISK: &std::ffi::CStr = c"size=700m,mode=0700";

/// The cluster.
pub(crate) struct Sandbox {
    program: PathBuf,
    name: String,
    folder: TempDir,
    port: u16,
    process: Option<Process>,
    starts: usize,
}

impl Sandbox {
    /// How many nodes it has.
    pub(crate) const NODES: usize = 2;

    /// Prepares its disk. Nothing runs yet.
    pub(crate) fn prepare(program: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("portolan-chaos-").tempdir()?;
        let disk = folder.path().join("disk");
        fs::create_dir(&disk)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let name = format!("c{}", std::process::id());
        let sandbox = Self { program: program.to_owned(), name, folder, port, process: None, starts: 0 };
        mount("tmpfs", &disk, "tmpfs", MountFlags::empty(), DISK).context("a disk cannot be mounted")?;
        node::image::write_stand_ins(&sandbox.data_dir().join("images"))?;
        Ok(sandbox)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("disk/data")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.data_dir().join("kubeconfig")
    }

    /// A place for files of the test's own.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The log of the process that was started last.
    fn log(&self) -> PathBuf {
        self.folder.path().join(format!("log-{}", self.starts))
    }

    /// Starts the process and does not wait.
    pub(crate) fn launch(&mut self) -> anyhow::Result<()> {
        self.starts += 1;
        let mut command = Command::new(&self.program);
        command.args(["up", "--offline", "--sandbox", &Self::NODES.to_string(), "--name", &self.name]);
        command.args(["--bind", &format!("127.0.0.1:{}", self.port), "--data-dir"]).arg(self.data_dir());
        self.process = Some(Process::start(&mut command, &self.log())?);
        Ok(())
    }

    /// Starts the process and waits until it says that it is ready; how long that took.
    pub(crate) fn start(&mut self) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        self.launch()?;
        let log = self.log();
        let is_ready =
            || fs::read_to_string(&log).unwrap_or_default().lines().any(|line| line.starts_with("ready"));
        while !is_ready() {
            let has_ended = self.process.as_mut().is_none_or(Process::has_ended);
            ensure!(
                !has_ended && begin.elapsed() < PATIENCE,
                "portolan up {}: {}",
                if has_ended { "has ended" } else { "does not become ready" },
                last_words(&log)
            );
            std::thread::sleep(STEP);
        }
        Ok(begin.elapsed())
    }

    /// Ends the process by a signal and waits until it is gone; how long that took.
    pub(crate) fn end(&mut self, signal: Signal) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        self.signal(signal)?;
        let mut process = self.process.take().context("it does not run")?;
        while !process.has_ended() {
            ensure!(begin.elapsed() < PATIENCE, "portolan does not end at {signal:?}");
            std::thread::sleep(STEP);
        }
        Ok(begin.elapsed())
    }

    /// Sends the process a signal.
    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(self.pid()?, signal)?)
    }

    /// The process; an error if it has ended by itself.
    pub(crate) fn pid(&self) -> anyhow::Result<Pid> {
        Ok(self.process.as_ref().context("portolan does not run")?.id())
    }

    /// Whether the process has ended though nobody told it to.
    pub(crate) fn has_crashed(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::has_ended)
    }

    /// Resident memory of the process in MiB.
    pub(crate) fn memory(&self) -> u64 {
        let Ok(pid) = self.pid() else { return 0 };
        let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
        let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        value.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
    }

    /// The name of a machine: `node1`, `client`.
    pub(crate) fn machine_name(&self, machine: &str) -> String {
        format!("{}-{machine}", self.name)
    }

    /// The address of the first node.
    pub(crate) fn node_address(&self) -> anyhow::Result<IpAddr> {
        let nodes = testbed::Sandbox::nodes_of(&self.name, Self::NODES);
        Ok(nodes.first().context("there is no node")?.1)
    }

    /// The network namespace of a machine.
    pub(crate) fn machine(&self, machine: &str) -> anyhow::Result<Namespace> {
        Ok(Namespace::open(&self.machine_name(machine))?)
    }

    /// Runs a program in the network of a machine; what it printed.
    pub(crate) fn on(&self, machine: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let network = format!("--net={}", self.machine(machine)?.path().display());
        said(Command::new("nsenter").arg(network).args(arguments))
    }

    /// Runs kubectl in the namespace `chaos`; what it printed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", self.folder.path());
        said(command.args(["--namespace", "chaos"]).args(arguments))
    }

    /// `portolan status`.
    pub(crate) fn status(&self) -> anyhow::Result<String> {
        let mut command = Command::new(&self.program);
        said(command.args(["status", "--name", &self.name, "--data-dir"]).arg(self.data_dir()))
    }

    /// The process of a node's runtime.
    pub(crate) fn runtime(&self, node: &str) -> anyhow::Result<Pid> {
        let folder = self.data_dir().join("nodes").join(self.machine_name(node)).display().to_string();
        let found = processes().find(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            let mut words = line.split('\0');
            words.next().is_some_and(|program| program.ends_with("containerd")) && line.contains(&folder)
        });
        found.and_then(Pid::from_raw).with_context(|| format!("{node} has no containerd"))
    }

    /// The process 1 of a container.
    pub(crate) fn container(&self, id: &str) -> anyhow::Result<Pid> {
        let found = processes().find(|pid| {
            let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let status = read("status");
            let inner = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            let inner = inner.is_some_and(|ids| ids.split_whitespace().skip(1).last() == Some("1"));
            inner && read("cgroup").contains(id)
        });
        found.and_then(Pid::from_raw).with_context(|| format!("container {id} has no process"))
    }

    /// Whatever of it is frozen goes on.
    pub(crate) fn thaw(&self) {
        let nodes = (1..=Self::NODES).filter_map(|number| self.runtime(&format!("node{number}")).ok());
        for pid in nodes.chain(self.pid().ok()) {
            let _ = kill_process(pid, Signal::CONT);
        }
    }

    /// The end of the log of the process that was started last.
    pub(crate) fn last_words(&self) -> String {
        last_words(&self.log())
    }

    /// Writes to the disk until nothing more fits.
    pub(crate) fn fill_disk(&self) -> anyhow::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(self.ballast())?;
        let piece = vec![0; 1 << 20];
        while file.write_all(&piece).is_ok() {}
        while file.write_all(&piece[..4096]).is_ok() {}
        Ok(())
    }

    /// Takes away what [`Sandbox::fill_disk`] has written.
    pub(crate) fn empty_disk(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.folder.path().join("disk/ballast")
    }

    /// Keeps the logs in a folder, for a closer look.
    pub(crate) fn keep_logs(&self, to: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(self.folder.path())?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("log-") {
                fs::copy(entry.path(), to.join(entry.file_name()))?;
            }
        }
        for entry in fs::read_dir(self.data_dir().join("nodes"))?.flatten() {
            let log = entry.path().join("containerd/containerd.log");
            if log.exists() {
                let name = format!("containerd-{}.log", entry.file_name().to_string_lossy());
                fs::copy(log, to.join(name))?;
            }
        }
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Nothing of it may stay frozen or without room: then it could not be removed.
        drop(self.empty_disk());
        self.thaw();
        drop(self.end(Signal::TERM));
        self.process.take();
        let mut down = Command::new(&self.program);
        down.args(["down", "--name", &self.name, "--data-dir"]).arg(self.data_dir());
        if let Err(error) = said(&mut down) {
            eprintln!("the cluster {} stays: {error:#}", self.name);
        }
        if let Err(error) = unmount(self.folder.path().join("disk"), UnmountFlags::DETACH) {
            eprintln!("the disk of the cluster {} stays: {error}", self.name);
        }
    }
}

/// Runs a command to its end; what it printed.
fn said(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().with_context(|| program.clone())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if !status.success() {
        bail!("{program}: {} {}", text(&stderr), text(&stdout));
    }
    Ok(text(&stdout))
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
