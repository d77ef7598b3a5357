//! Network namespaces, made and removed by the test that uses them.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A named network namespace that goes with its owner.
pub(crate) struct Namespace {
    pub(crate) name: String,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Namespace {
    /// A new namespace with loopback up.
    pub(crate) fn new(role: &str) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("pxt{}-{number}-{role}", std::process::id());
        ip(&["netns", "add", &name]);
        let namespace = Self { name };
        namespace.ip("link set lo up");
        // IPv6 addresses, link-local ones too, are usable at once.
        namespace.sysctl("ipv6/conf/default/accept_dad", "0");
        namespace.sysctl("ipv6/conf/default/dad_transmits", "0");
        namespace
    }

    /// Runs `ip` in the namespace.
    pub(crate) fn ip(&self, arguments: &str) {
        ip(&["-n", &self.name].into_iter().chain(arguments.split(' ')).collect::<Vec<_>>());
    }

    /// Runs `work` on a thread of the namespace and returns what it returns.
    pub(crate) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                enter(&self.name);
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts `work` on a thread of the namespace that is not waited for.
    pub(crate) fn spawn(&self, work: impl FnOnce() + Send + 'static) {
        let name = self.name.clone();
        std::thread::spawn(move || {
            enter(&name);
            work();
        });
    }

    /// Writes a network setting of the namespace.
    pub(crate) fn sysctl(&self, path: &'static str, value: &'static str) {
        // The kernel shows and changes the settings of the namespace of the thread that opens the file.
        self.run(|| std::fs::write(format!("/proc/sys/net/{path}"), value)).unwrap();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let removed = Command::new("ip").args(["netns", "delete", &self.name]).status();
        if !removed.is_ok_and(|status| status.success()) {
            eprintln!("cannot remove the network namespace {}", self.name);
        }
    }
}

/// Joins a node and a machine by a veth pair with these addresses (each the first two of its network).
pub(crate) fn join(node: &Namespace, machine: &Namespace, link: &str, networks: &[(&str, u8)]) {
    node.ip(&format!("link add {link} type veth peer name eth0 netns {}", machine.name));
    node.ip(&format!("link set {link} up"));
    machine.ip("link set eth0 up");
    for (prefix, bits) in networks {
        let nodad = if prefix.contains(':') { " nodad" } else { "" };
        node.ip(&format!("addr add {prefix}1/{bits} dev {link}{nodad}"));
        machine.ip(&format!("addr add {prefix}2/{bits} dev eth0{nodad}"));
        machine.ip(&format!("route add default via {prefix}1"));
    }
}

fn enter(name: &str) {
    let file = File::open(format!("/run/netns/{name}")).unwrap();
    let kind = rustix::thread::LinkNameSpaceType::Network;
    rustix::thread::move_into_link_name_space(file.as_fd(), Some(kind)).unwrap();
}

fn ip(arguments: &[&str]) {
    assert!(Command::new("ip").args(arguments).status().unwrap().success(), "ip {arguments:?}");
}
