//! What is the user's stays: folders, kubeconfig files, and what a cluster was made with.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustix::process::Signal;

use crate::harness::{Cluster, PROGRAM, may_run, run};

/// A file with its folders.
fn write(file: &Path, text: &str) {
    std::fs::create_dir_all(file.parent().expect("a file has a folder")).expect("a folder can be made");
    std::fs::write(file, text).expect("a file can be written");
}

#[test]
fn down_without_a_record_removes_nothing_whatever_folder_it_is_given() {
    if !may_run("down") {
        return;
    }
    let home = tempfile::tempdir().expect("a folder can be made");
    let names = ["letters/a", "store.redb", "pki/ca.key", "nodes/n1/x", "kubeconfig"];
    names.iter().for_each(|name| write(&home.path().join(name), "precious"));
    for part in [&["down", "--name", "nosuch", "--data-dir"][..], &["node", "--cleanup", "--data-dir"]] {
        let said = run(Command::new(PROGRAM).args(part).arg(home.path()).env("KUBECONFIG", "/nonexistent"));
        let text = said.out + &said.err;
        assert!(text.contains("nothing was removed"), "{text}");
        for name in names {
            let kept = std::fs::read_to_string(home.path().join(name)).unwrap_or_default();
            assert_eq!(kept, "precious", "{part:?} {name}");
        }
    }
}

#[test]
fn an_api_server_of_other_addresses_than_its_store_is_refused() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let data_dir = folder.path().join("data");
    let apiserver = |range: &str| {
        let mut command = Command::new(PROGRAM);
        command
            .args(["apiserver", "--bind", "127.0.0.1:0", "--service-cidr", range, "--data-dir"])
            .arg(&data_dir);
        command
    };
    drop(
        crate::harness::start_ready(&mut apiserver("10.96.0.0/16"), &folder.path().join("log"))
            .expect("it starts"),
    );
    let said = run(&mut apiserver("10.50.0.0/16")).bad();
    assert!(
        said.contains("has the address 10.96.0.1, and not 10.50.0.1 as --service-cidr 10.50.0.0/16"),
        "{said}"
    );
}

const THEIRS: &str = "\
apiVersion: v1
kind: Config
clusters:
- {name: prod, cluster: {server: 'https://prod.example:6443'}}
users:
- {name: prod, user: {token: secret}}
contexts:
- {name: prod, context: {cluster: prod, user: prod, namespace: shop}}
current-context: prod
";

#[test]
fn a_cluster_lives_beside_what_the_user_has_and_takes_only_its_own_with_it() {
    if !may_run("beside") {
        return;
    }
    let cluster = Arc::new(Cluster::new());
    let file = cluster.folder.path().join("config");
    write(&file, THEIRS);
    write(&cluster.data_dir().join("images/mine.tar.txt"), "mine");
    let mut up = cluster.up();
    let (process, line) =
        crate::harness::start_ready(up.arg("--kubeconfig").arg(&file), &cluster.folder.path().join("log"))
            .unwrap_or_else(|log| panic!("the cluster does not start:\n{log}"));
    *cluster.process.lock().expect("no test has panicked with it") = Some(process);
    assert_eq!(line, format!("ready kubeconfig={}", file.display()));
    let kubectl = |arguments: &[&str]| {
        run(Command::new("kubectl")
            .env("KUBECONFIG", &file)
            .env("HOME", cluster.folder.path())
            .args(arguments))
    };
    assert_eq!(kubectl(&["config", "current-context"]).good(), cluster.name);
    kubectl(&["get", "nodes"]).good();
    kubectl(&["config", "set-context", "--current", "--namespace=mine"]).good();
    let namespace = |context: &str| {
        let path = format!("jsonpath={{.contexts[?(@.name==\"{context}\")].context.namespace}}");
        kubectl(&["config", "view", "-o", &path]).good()
    };
    cluster.end(Signal::TERM);
    let refused = |arguments: &[&str], sentence: &str| {
        let said = run(cluster.up().args(arguments)).bad();
        assert!(said.contains(sentence), "{arguments:?}: {said}");
        assert!(!said.contains('{') && said.lines().count() == 1, "one sentence: {said}");
    };
    refused(&["--cluster-cidr", "10.99.0.0/16"], "was made with --cluster-cidr 10.244.0.0/16");
    refused(&["--service-cidr", "10.98.0.0/16"], "was made with --service-cidr 10.96.0.0/16");
    refused(&["--cluster-domain", "other.local"], "was made with --cluster-domain cluster.local");
    let (process, _) = crate::harness::start_ready(
        cluster.up().arg("--kubeconfig").arg(&file),
        &cluster.folder.path().join("log"),
    )
    .unwrap_or_else(|log| panic!("the cluster does not start again:\n{log}"));
    *cluster.process.lock().expect("no test has panicked with it") = Some(process);
    assert_eq!((namespace(&cluster.name).as_str(), namespace("prod").as_str()), ("mine", "shop"));
    let status = run(Command::new(PROGRAM).args(["status", "--name", &cluster.name])).good();
    assert!(status.contains(&file.display().to_string()) && status.ends_with("all is well"), "{status}");
    assert!(run(Command::new(PROGRAM).arg("list")).good().contains(&cluster.name));
    let said = cluster.down().good();
    assert!(said.contains("images/mine.tar.txt"), "what stays is named: {said}");
    assert_eq!(
        std::fs::read_to_string(cluster.data_dir().join("images/mine.tar.txt")).expect("it stays"),
        "mine"
    );
    assert!(cluster.data_dir().join("images/httpd.tar").exists(), "images that were put there stay");
    assert_eq!(std::fs::read_dir(cluster.data_dir()).expect("the folder stays").count(), 1);
    assert_eq!(kubectl(&["config", "get-contexts", "-o", "name"]).good(), "prod");
    assert_eq!(namespace("prod"), "shop");
    let said = run(Command::new(PROGRAM).args(["status", "--name", &cluster.name])).bad();
    assert!(said.contains("there is no cluster"), "{said}");
}

#[test]
fn ranges_and_domains_that_cannot_work_are_refused_in_one_sentence() {
    if !may_run("ranges") {
        return;
    }
    let cluster = Cluster::new();
    for (arguments, sentence) in [
        (
            &["--cluster-cidr", "10.96.128.0/17"][..],
            "have addresses in common; choose ranges that share none",
        ),
        (
            &["--service-cidr", "172.30.0.0/16"],
            "and the sandbox's network 172.30.0.0/24 have addresses in common",
        ),
        (&["--cluster-domain", "a b"], "use labels of lower case letters"),
        (&["--cluster-cidr", "10.244.0.0/28"], "too narrow to give nodes a share"),
    ] {
        let said = run(cluster.up().args(arguments)).bad();
        assert!(said.contains(sentence), "{arguments:?}: {said}");
        assert!(!testbed::Sandbox::exists(&cluster.name), "nothing was made");
    }
}
