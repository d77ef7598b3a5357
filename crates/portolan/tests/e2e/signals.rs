//! What parts do at signals other than those that end them.

use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{PROGRAM, Process, eventually, free_port, run, start_ready};

fn signal(process: &Process, signal: Signal) {
    kill_process(Pid::from_child(&process.0), signal).expect("our own child can be signalled");
}

fn runs(process: &mut Process) -> bool {
    process.0.try_wait().expect("our own child can be asked for").is_none()
}

#[test]
fn dns_reads_its_corefile_again_at_sigusr1_and_sighup() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (corefile, port) = (folder.path().join("Corefile"), free_port().to_string());
    let write = |address: &str| {
        let text = format!(".:{port} {{\n bind 127.0.0.1\n hosts {{\n {address} a.example\n }}\n}}\n");
        std::fs::write(&corefile, text).expect("a file can be written");
    };
    write("192.0.2.1");
    let mut command = Command::new(PROGRAM);
    command.args(["dns", "--conf"]).arg(&corefile);
    let (mut dns, _) = start_ready(&mut command, &folder.path().join("log")).expect("it starts");
    let answers = |address: &str| {
        let question = ["@127.0.0.1", "-p", &port, "+short", "+time=2", "+tries=1", "a.example"];
        eventually("the answer is the Corefile's", || {
            let said = run(Command::new("dig").args(question));
            if said.out == address { Ok(()) } else { Err(said.out) }
        });
    };
    answers("192.0.2.1");
    for (number, what) in [(2, Signal::USR1), (3, Signal::HUP), (4, Signal::USR1)] {
        write(&format!("192.0.2.{number}"));
        signal(&dns, what);
        answers(&format!("192.0.2.{number}"));
    }
    std::fs::write(&corefile, "nonsense {").expect("a file can be written");
    signal(&dns, Signal::USR1);
    eventually("a Corefile that cannot be followed is told", || {
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        if log.contains("the Corefile cannot be followed") { Ok(()) } else { Err(log) }
    });
    answers("192.0.2.4");
    assert!(runs(&mut dns));
}

#[test]
fn a_hangup_ends_no_server() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let data_dir: &Path = &folder.path().join("data");
    let mut command = Command::new(PROGRAM);
    command.args(["apiserver", "--bind", "127.0.0.1:0", "--data-dir"]).arg(data_dir);
    let (mut server, _) = start_ready(&mut command, &folder.path().join("log")).expect("it starts");
    let answers = || {
        let mut kubectl = Command::new("kubectl");
        kubectl.env("KUBECONFIG", data_dir.join("kubeconfig")).env("HOME", folder.path());
        run(kubectl.args(["get", "namespaces"])).good();
    };
    answers();
    for _ in 0..3 {
        signal(&server, Signal::HUP);
        answers();
    }
    assert!(runs(&mut server));
}
