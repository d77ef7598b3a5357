//! What CoreDNS answered about recorded objects, and what we answer.

use std::path::{Path, PathBuf};
use std::process::Command;

use compat::dns::replay::replay;
use compat::dns::verdicts::Verdicts;
use compat::generate::PRIMARY;
use testbed::Namespace;

/// The program beside the folder of this test.
fn portolan() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    Some(own.parent()?.parent()?.join("portolan")).filter(|program| program.exists())
}

fn recordings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_dns =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("dns-"));
    entries.filter(is_dns).collect()
}

fn replay_all(program: &Path) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for folder in recordings() {
        verdicts.add(replay(&folder, program).unwrap());
    }
    verdicts
}

#[test]
fn every_question_gets_the_answer_that_coredns_gave() {
    let Some(program) = portolan() else {
        println!("skipped: portolan is not built; run cargo build --package portolan");
        return;
    };
    assert!(!recordings().is_empty());
    let verdicts = if rustix::process::geteuid().is_root() {
        let name = format!("compat-dns-{}", std::process::id());
        let namespace = Namespace::ensure(&name).unwrap();
        let ip = |arguments: &str| {
            let mut command = Command::new("ip");
            assert!(command.args(["-n", &name]).args(arguments.split(' ')).status().unwrap().success());
        };
        ip("link set lo up");
        ip(&format!("addr add {PRIMARY}/32 dev lo"));
        let verdicts = namespace.run(|| replay_all(&program));
        Namespace::delete(&name).unwrap();
        verdicts.unwrap()
    } else {
        replay_all(&program)
    };
    println!("{verdicts}");
    assert!(verdicts.questions > 500);
    assert_eq!(verdicts.mistakes(), 0, "{}", verdicts.details());
}
