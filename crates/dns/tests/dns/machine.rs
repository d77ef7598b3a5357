//! A machine for a test: a network namespace, and the resolv.conf that kubelet writes for a pod.

use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use testbed::Namespace;

/// What kubelet writes for a pod of the namespace `default` (dnsPolicy ClusterFirst).
const RESOLV_CONF: &str = "nameserver 127.0.0.1\n\
    search default.svc.cluster.local svc.cluster.local cluster.local\n\
    options ndots:5 timeout:2 attempts:2\n";
/// Mounts the file in the first argument over resolv.conf, only for the command in the other arguments.
const SCRIPT: &str = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";

/// A machine, which is removed when it is dropped.
pub(crate) struct Machine {
    namespace: Namespace,
    resolv_conf: tempfile::NamedTempFile,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = Namespace::delete(self.namespace.name());
    }
}

impl Machine {
    /// A machine for a test. `None` without root, with a line on standard output.
    pub(crate) fn of(test: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: network namespaces and another resolv.conf need root");
            return None;
        }
        let name = format!("dns-{test}-{}", std::process::id());
        let namespace = Namespace::ensure(&name).unwrap();
        // Some resolvers ask nothing if the machine has no address except loopback on an interface with a carrier.
        for change in [
            "link set lo up",
            "link add eth0 type veth peer name eth1",
            "addr add 192.0.2.9/32 dev eth0",
            "link set eth0 up",
            "link set eth1 up",
        ] {
            let ip = Command::new("ip").args(["-n", &name]).args(change.split(' ')).status();
            assert!(ip.expect("ip is part of the package iproute2").success(), "{change}");
        }
        let everybody = std::fs::Permissions::from_mode(0o644);
        let mut resolv_conf = tempfile::Builder::new().permissions(everybody).tempfile().unwrap();
        resolv_conf.write_all(RESOLV_CONF.as_bytes()).unwrap();
        Some(Self { namespace, resolv_conf })
    }

    /// Sockets at port 53 of 127.0.0.1, where resolvers ask.
    pub(crate) fn sockets(&self) -> (UdpSocket, TcpListener) {
        let open = || (UdpSocket::bind("127.0.0.1:53").unwrap(), TcpListener::bind("127.0.0.1:53").unwrap());
        self.namespace.run(open).unwrap()
    }

    /// The output of a command on the machine; `None` if it fails. Words are separated by spaces.
    pub(crate) async fn run(&self, command: &str) -> Option<String> {
        let (program, words) = command.split_once(' ').unwrap_or((command, ""));
        self.run_words(program, &words.split(' ').collect::<Vec<_>>()).await
    }

    /// The output of a program with arguments on the machine; `None` if it fails.
    pub(crate) async fn run_words(&self, program: &str, words: &[&str]) -> Option<String> {
        let mut all = Command::new("ip");
        all.args(["netns", "exec", self.namespace.name(), "unshare", "-m", "sh", "-c", SCRIPT, "sh"]);
        all.arg(self.resolv_conf.path()).arg(program).args(words);
        let output = tokio::task::spawn_blocking(move || all.output()).await.unwrap().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    /// The last word of each line of the output of a command, sorted.
    pub(crate) async fn last_words(&self, command: &str) -> Vec<String> {
        let text = self.run(command).await.unwrap_or_default();
        let mut words: Vec<_> =
            text.lines().filter_map(|line| Some(line.split_whitespace().last()?.to_owned())).collect();
        words.sort();
        words
    }
}

/// Whether a program is installed. Prints a line if it is not.
pub(crate) fn has(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&paths).any(|folder| folder.join(program).exists());
    if !there {
        println!("skipped: there is no {program}");
    }
    there
}
