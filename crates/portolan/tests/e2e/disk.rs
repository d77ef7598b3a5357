//! An API server whose disk is full: it says so, can be emptied through the API, and starts again.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::harness::{PROGRAM, Process, Said, eventually, free_port, may_run, run, start_ready};

/// A small file system, gone with the value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        mount("tmpfs", folder.path(), "tmpfs", MountFlags::empty(), c"size=16m")
            .expect("a disk can be mounted");
        Self(folder)
    }

    fn fill(&self) {
        let ballast =
            std::fs::OpenOptions::new().append(true).create(true).open(self.0.path().join("ballast"));
        let mut ballast = ballast.expect("a file can be made");
        while ballast.write_all(&[0; 4096]).is_ok() {}
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.path().join("ballast")).expect("a file can be removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.0.path(), UnmountFlags::DETACH).expect("the disk can be unmounted");
    }
}

fn start(data_dir: &Path, port: u16, log: &Path) -> Process {
    let mut command = Command::new(PROGRAM);
    command.args(["apiserver", "--bind", &format!("127.0.0.1:{port}"), "--data-dir"]).arg(data_dir);
    start_ready(&mut command, log).unwrap_or_else(|log| panic!("it does not start:\n{log}")).0
}

#[test]
fn a_full_disk_is_told_by_readyz_takes_deletes_and_lets_the_server_start_again() {
    if !may_run("disk") {
        return;
    }
    let (disk, folder) = (SmallDisk::new(), tempfile::tempdir().expect("a folder can be made"));
    let data_dir = disk.0.path().join("data");
    let (log, port) = (folder.path().join("log"), free_port());
    let kubectl = |arguments: &[&str]| -> Said {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", data_dir.join("kubeconfig")).env("HOME", folder.path());
        run(command.args(arguments))
    };
    let server = start(&data_dir, port, &log);
    let large = folder.path().join("large");
    std::fs::write(&large, "x".repeat(500_000)).expect("a file can be written");
    let large = format!("--from-file={}", large.display());
    let create = |name: &str| kubectl(&["create", "configmap", name, &large]);
    assert_eq!(kubectl(&["get", "--raw", "/readyz"]).good(), "ok");
    for number in 0..4 {
        create(&format!("before-{number}")).good();
    }
    disk.fill();
    let refused = (0..40).map(|number| create(&format!("more-{number}"))).find(|said| !said.ok);
    let refused = refused.expect("the disk fills up").bad();
    assert!(refused.contains("the disk is full"), "{refused}");
    let said = kubectl(&["get", "--raw", "/readyz?verbose"]).bad();
    assert!(said.contains("[-]store failed: the disk is full"), "{said}");
    kubectl(&["get", "--raw", "/livez"]).good();
    kubectl(&["delete", "configmap", "before-0"]).good();
    drop(server);
    let server = start(&data_dir, port, &log);
    kubectl(&["delete", "configmap", "before-1", "before-2"]).good();
    assert!(!kubectl(&["get", "configmap", "before-0"]).ok, "what was deleted stays deleted");
    kubectl(&["get", "configmap", "before-3"]).good();
    disk.empty();
    eventually("there is room again", || {
        let said = kubectl(&["get", "--raw", "/readyz"]);
        if said.ok { Ok(()) } else { Err(said.err) }
    });
    create("after").good();
    drop(server);
    let _server = start(&data_dir, port, &log);
    let names = kubectl(&["get", "configmaps", "-o", "name"]).good();
    assert!(names.contains("configmap/after") && names.contains("before-3"), "{names}");
    assert!(
        !names.contains("before-0") && !names.contains("before-1") && !names.contains("before-2"),
        "{names}"
    );
}
