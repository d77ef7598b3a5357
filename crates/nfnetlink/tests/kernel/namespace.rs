//! Network namespaces for the tests.

use std::process::Command;

/// Runs `test` on a thread of its own in a new network namespace, or says why not.
pub(crate) fn in_namespace(name: &str, test: impl FnOnce() + Send) {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: making a network namespace needs root");
        return;
    }
    let name = format!("nfnl-{}-{name}", std::process::id());
    ip(&["netns", "add", &name]);
    let outcome = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let file = std::fs::File::open(format!("/run/netns/{name}")).unwrap();
                let kind = rustix::thread::LinkNameSpaceType::Network;
                rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), Some(kind))
                    .unwrap();
                test();
            })
            .join()
    });
    ip(&["netns", "delete", &name]);
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Runs `ip`, which must succeed.
pub(crate) fn ip(arguments: &[&str]) {
    assert!(Command::new("ip").args(arguments).status().unwrap().success(), "ip {arguments:?}");
}

/// What `nft` 1.0.6 or later prints of the namespace's rules.
pub(crate) fn nft_list() -> String {
    let output = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    assert!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
