//! ipvs mode: the same connections by virtual servers, in a virtual machine whose kernel has IPVS.

mod inside;

use std::io::ErrorKind;
use std::process::Command;

use nfnetlink::ipvs::Ipvs;

use crate::namespace::Namespace;

/// What the script ends with when no virtual machine can be had.
const UNAVAILABLE: i32 = 77;

#[test]
fn in_a_virtual_machine_with_ipvs_all_connections_go_where_they_should() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/vm.sh");
    let program = std::env::current_exe().unwrap();
    let arguments = ["ipvs::inside", "--ignored", "--test-threads=2", "--color=never"];
    let output = match Command::new(script).arg(program).args(arguments).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => panic!("{script} is missing"),
        output => output.unwrap(),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(UNAVAILABLE) {
        println!("skipped: no virtual machine: {complaint}");
        return;
    }
    println!("{text}");
    let passed = text.lines().find_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next());
    let passed: usize = passed.unwrap_or("0").parse().unwrap();
    assert!(output.status.success() && passed >= inside::TESTS, "{passed} passed: {complaint}");
}

#[test]
fn a_kernel_without_ipvs_is_told_what_is_missing_and_what_would_work() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: making network namespaces needs root");
        return;
    }
    let node = Namespace::new("node");
    if node.run(Ipvs::open).is_ok() {
        println!("skipped: this kernel has IPVS");
        return;
    }
    let Some(scene) = crate::scene::Scene::new() else { return };
    let mut mode = inside::mode(&node);
    let error = scene.with_sight(|sight| mode.sync(sight, &proxy::Touched::Everything)).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("modprobe ip_vs") && text.contains("--proxy-mode nftables"), "{text}");
    proxy::ipvs::cleanup(&inside::place(&node), false).expect("there is nothing to remove");
}
