//! Network namespaces for the tests.

use std::process::Command;

/// A network namespace that goes when the value goes.
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    /// Makes one, with its loopback interface up. `None`, and a printed sentence, if that is not allowed.
    pub(crate) fn new(name: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: making a network namespace needs root");
            return None;
        }
        let name = format!("nfnl-{}-{name}", std::process::id());
        ip(&["netns", "add", &name]);
        ip(&["-n", &name, "link", "set", "lo", "up"]);
        Some(Self { name })
    }

    /// Runs `work` on a thread of its own in the namespace.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let outcome = std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let file = std::fs::File::open(format!("/run/netns/{}", self.name)).unwrap();
                    let kind = rustix::thread::LinkNameSpaceType::Network;
                    rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(kind))
                        .unwrap();
                    work()
                })
                .join()
        });
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&["netns", "delete", &self.name]);
    }
}

/// Runs `test` on a thread of its own in a new network namespace, or says why not.
pub(crate) fn in_namespace(name: &str, test: impl FnOnce() + Send) {
    if let Some(namespace) = Namespace::new(name) {
        namespace.run(test);
    }
}

/// Runs `ip`, which must succeed.
pub(crate) fn ip(arguments: &[&str]) {
    assert!(Command::new("ip").args(arguments).status().unwrap().success(), "ip {arguments:?}");
}

/// Runs `nft` on rules in its language, which must succeed.
pub(crate) fn nft(rules: &str) {
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut nft.stdin.take().unwrap(), rules.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success());
}

/// What `nft` 1.0.6 or later prints of the namespace's rules.
pub(crate) fn nft_list() -> String {
    let output = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    assert!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
