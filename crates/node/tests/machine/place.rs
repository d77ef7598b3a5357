//! A place for one test node: a network namespace, folders, and a thread inside the namespace.

use std::{
    fs::File,
    net::TcpListener,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use node::Config;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A namespace and a folder that vanish with this value.
pub(crate) struct Place {
    name: String,
    dir: tempfile::TempDir,
}

impl Place {
    /// Makes the namespace, with its loopback interface up and a default route, as a node has.
    pub(crate) fn new(name: &str) -> Self {
        let place = Self {
            name: format!("portolan-test-{name}-{}", std::process::id()),
            dir: tempfile::tempdir().unwrap(),
        };
        let netns = place.name.as_str();
        ip(&["netns", "add", netns]);
        ip(&["-n", netns, "link", "set", "lo", "up"]);
        ip(&["-n", netns, "link", "add", "up0", "type", "veth", "peer", "name", "up1"]);
        ip(&["-n", netns, "address", "add", "192.0.2.1/24", "dev", "up0"]);
        ip(&["-n", netns, "link", "set", "up0", "up"]);
        ip(&["-n", netns, "link", "set", "up1", "up"]);
        ip(&["-n", netns, "route", "add", "default", "via", "192.0.2.254"]);
        place
    }

    /// A node's configuration in this place.
    pub(crate) fn config(&self) -> Config {
        Config {
            name: "node1".into(),
            internal_ip: [192, 0, 2, 1].into(),
            data_dir: self.dir.path().join("node"),
            runtime_endpoint: None,
            images_dir: self.dir.path().join("images"),
            cluster_dns: vec![[10, 96, 0, 10].into()],
            cluster_domain: "cluster.local".into(),
            client_ca_pem: String::new(),
            program: std::env::current_exe().unwrap(),
            labels: Default::default(),
            port: 10250,
            runtime_environment: Default::default(),
            cgroup_parent: format!("/portolan-tests/{}", self.name),
        }
    }

    /// Runs a future to its end on a thread that is inside the namespace.
    pub(crate) fn run<T: Send>(&self, work: impl AsyncFnOnce() -> T + Send) -> T {
        let namespace = File::open(Path::new("/run/netns").join(&self.name)).unwrap();
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(work())
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A folder in the place.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What `ip` prints about the namespace.
    pub(crate) fn ip(&self, arguments: &[&str]) -> String {
        let output = Command::new("ip").args(["-n", &self.name]).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What `nft` prints about the namespace.
    pub(crate) fn nft(&self, arguments: &[&str]) -> String {
        let output = Command::new("ip").args(["netns", "exec", &self.name, "nft"]).args(arguments).output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
    }

    /// Moves the other end of the node's cable into a namespace of its own, where a machine answers to
    /// 192.0.2.254 and 198.51.100.1 and knows the way to 10.244.9.0/24.
    pub(crate) fn outside(&self) -> Outside {
        let name = format!("{}-out", self.name);
        ip(&["netns", "add", &name]);
        ip(&["-n", &self.name, "link", "set", "up1", "netns", &name]);
        ip(&["-n", &name, "link", "set", "lo", "up"]);
        ip(&["-n", &name, "link", "set", "up1", "up"]);
        ip(&["-n", &name, "address", "add", "192.0.2.254/24", "dev", "up1"]);
        ip(&["-n", &name, "address", "add", "198.51.100.1/32", "dev", "lo"]);
        ip(&["-n", &name, "route", "add", "10.244.9.0/24", "via", "192.0.2.1"]);
        Outside { name }
    }

    /// What of the node is still on the machine: processes, mounts, cgroups, folders.
    pub(crate) fn traces(&self, config: &Config) -> Vec<String> {
        let mut traces = Vec::new();
        let runtime_dir = config.runtime_dir();
        let marks = [config.data_dir.display().to_string(), runtime_dir.display().to_string()];
        let marked = |text: &str| marks.iter().any(|mark| text.contains(mark.as_str()));
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        traces.extend(mounts.lines().filter(|line| marked(line)).map(|line| format!("mount {line}")));
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let cmdline = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let cmdline = String::from_utf8_lossy(&cmdline).replace('\0', " ");
            let cgroup = std::fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
            // A zombie only waits for whoever inherited it.
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            if stat.contains(") Z ") {
                continue;
            }
            if marked(&cmdline) || cgroup.contains(&config.cgroup_parent) {
                traces.push(format!("process {} {cmdline}", entry.file_name().display()));
            }
        }
        let mut folders = vec![config.data_dir.clone(), runtime_dir];
        for controller in ["", "memory", "pids", "cpu", "unified"] {
            folders.push(Path::new("/sys/fs/cgroup").join(controller).join(&config.cgroup_parent[1..]));
        }
        traces.extend(
            folders.iter().filter(|path| path.exists()).map(|path| format!("folder {}", path.display())),
        );
        traces
    }
}

/// A machine that the node reaches, and that is none of its cluster.
pub(crate) struct Outside {
    name: String,
}

impl Outside {
    /// What this machine gets from a URL.
    pub(crate) fn curl(&self, url: &str) -> String {
        let output = Command::new("ip").args(["netns", "exec", &self.name, "curl", "-sm", "5", url]).output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
    }

    /// Listens on this machine.
    pub(crate) fn listen(&self, port: u16) -> TcpListener {
        let namespace = File::open(Path::new("/run/netns").join(&self.name)).unwrap();
        let open = move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        };
        thread::spawn(open).join().unwrap()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        ip(&["netns", "del", &self.name]);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let config = self.config();
        self.run(async || node::remove_all(&config).await).unwrap_or_else(|error| println!("{error}"));
        ip(&["netns", "del", &self.name]);
    }
}

fn ip(arguments: &[&str]) {
    let done = Command::new("ip").args(arguments).status();
    assert!(done.is_ok_and(|status| status.success()), "ip {}", arguments.join(" "));
}
