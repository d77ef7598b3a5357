//! systemd-resolved between a program and this server. It tries EDNS, follows aliases and caches answers itself.

use std::io::Write;
use std::path::PathBuf;

use super::{ADDRESSES, server};
use crate::machine::Machine;

/// Starts the program in the first argument with its own /run and user, and asks it each of the other arguments.
const SCRIPT: &str = r#"
set -e
resolved=$1; shift
mount -t tmpfs none /run
mkdir -p /run/systemd/resolve
for list in passwd group; do
    { cat /etc/$list; [ $list = group ] || echo systemd-resolve:x:997:997::/:; } >/run/$list
    [ $list = passwd ] || echo systemd-resolve:x:997: >>/run/$list
    mount --bind /run/$list /etc/$list
done
chown 997:997 /run/systemd/resolve
"$resolved" >/run/log 2>&1 &
trap "kill $!" EXIT
tries=50
until dig @127.0.0.53 kubernetes.default.svc.cluster.local +tries=1 +time=1 | grep -q 'status: NOERROR'; do
    tries=$((tries - 1)); [ $tries -gt 0 ] || { cat /run/log; exit; }
    sleep 0.1
done
for question; do
    echo "== $question"
    dig @127.0.0.53 +tries=1 +time=5 $question
done
"#;

/// Where the program is, installed or unpacked by `scripts/need.sh`; `None` with a line on standard output if it does
/// not run here.
fn program() -> Option<PathBuf> {
    let unpacked = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/resolved");
    let places = ["/", unpacked, &format!("{unpacked}/usr")];
    let places = places.map(|place| PathBuf::from(place).join("lib/systemd/systemd-resolved"));
    let runs = |path: &PathBuf| {
        std::process::Command::new(path).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    let found = places.into_iter().find(runs);
    if found.is_none() {
        println!("skipped: there is no systemd-resolved");
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_resolved_passes_answers_on() {
    let Some((machine, program)) = Machine::of("resolved").zip(program()) else { return };
    let _server = server(&machine).await;
    let mut script = tempfile::NamedTempFile::new().unwrap();
    script.write_all(SCRIPT.as_bytes()).unwrap();
    let full = ADDRESSES.iter().filter(|(name, _)| name.ends_with("cluster.local"));
    let questions: Vec<(String, &str)> = full
        .map(|(name, address)| (format!("{name} A"), *address))
        .chain(
            [
                ("test-service-2.default.svc.cluster.local AAAA", "status: NOERROR"),
                ("missing.default.svc.cluster.local A", "status: NXDOMAIN"),
                ("alias.default.svc.cluster.local A", "10.96.0.7"),
                ("_http._tcp.test-service-2.default.svc.cluster.local SRV", "0 100 80 test-service-2."),
                ("-x 10.96.0.7", "test-service-2.default.svc.cluster.local."),
                ("crowd.default.svc.cluster.local A", "ANSWER: 300"),
                ("TEST-service-2.default.svc.cluster.LOCAL A", "10.96.0.7"),
            ]
            .map(|(question, answer)| (question.to_owned(), answer)),
        )
        .collect();
    let asked: Vec<&str> = questions.iter().map(|(question, _)| question.as_str()).collect();
    let mut words = vec![script.path().to_str().unwrap(), program.to_str().unwrap()];
    words.extend(asked);
    let told = machine.run_words("sh", &words).await.unwrap();
    for (question, answer) in &questions {
        let part = told.split("== ").find(|part| part.starts_with(question.as_str()));
        assert!(part.is_some_and(|part| part.contains(answer)), "{question}: {told}");
    }
}
