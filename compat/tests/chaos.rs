//! Each action of the chaos program once, with a fixed seed: no promise may be broken. Needs root, kubectl, nft and
//! containerd, and `portolan` built beside.

use compat::chaos::{Options, run};

#[test]
fn a_cluster_keeps_its_promises_while_everything_around_it_fails() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: a sandbox needs root");
        return;
    }
    let own = std::env::current_exe().unwrap();
    let program = own.parent().and_then(|folder| folder.parent()).unwrap().join("portolan");
    if !program.exists() {
        println!("skipped: portolan is not built; run cargo build --package portolan");
        return;
    }
    let violations = run(&Options { program, seed: 1, time: None, only: Vec::new() }).unwrap();
    assert!(violations.is_empty(), "{violations:#?}");
}
