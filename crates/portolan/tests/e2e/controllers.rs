//! What controllers bring back, and the ends of objects that somebody else has to bring about.

use serde_json::json;

use crate::harness::{Cluster, eventually, may_run};

#[test]
fn the_root_certificate_comes_back_when_it_is_deleted_or_changed() {
    if !may_run("root-ca") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("root-ca");
    let name = "kube-root-ca.crt";
    let certificate = || space.kubectl(&["get", "configmap", name, "-o", "jsonpath={.data.ca\\.crt}"]);
    let uid = || space.kubectl(&["get", "configmap", name, "-o", "jsonpath={.metadata.uid}"]);
    let first = eventually("the certificate is there", || {
        let said = certificate();
        if said.ok && said.out.contains("BEGIN CERTIFICATE") { Ok(said.out) } else { Err(said.err) }
    });
    let before = uid().good();
    space.kubectl(&["delete", "configmap", name]).good();
    eventually("it is there again", || {
        let (now, said) = (uid(), certificate());
        if now.ok && now.out != before && said.out == first { Ok(()) } else { Err(said.err) }
    });
    let wrong = json!({"data": {"ca.crt": "nothing", "more": "x"}}).to_string();
    space.kubectl(&["patch", "configmap", name, "-p", &wrong]).good();
    eventually("it is right again", || {
        let said = space.kubectl(&["get", "configmap", name, "-o", "jsonpath={.data}"]);
        let right = said.out.contains("BEGIN CERTIFICATE") && !said.out.contains("more");
        if right { Ok(()) } else { Err(said.out) }
    });
}

#[test]
fn a_pod_on_a_node_that_does_not_exist_can_be_deleted() {
    if !may_run("orphaned-pod") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("orphaned-pod");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lost"},
        "spec": {"nodeName": "nosuch", "containers": [{"name": "c", "image": "busybox"}]},
    });
    space.apply(&pod.to_string()).good();
    space.kubectl(&["delete", "pod", "lost", "--timeout=10s"]).good();
    assert!(space.kubectl(&["get", "pod", "lost"]).bad().contains("NotFound"));
}

#[test]
fn an_owner_that_leaves_its_dependents_behind_goes() {
    if !may_run("orphan") {
        return;
    }
    let cluster = Cluster::shared();
    let space = cluster.space("orphan");
    space.deploy(1);
    space.kubectl(&["delete", "deployment", "httpd", "--cascade=orphan", "--timeout=10s"]).good();
    let owners = "jsonpath={.items[*].metadata.ownerReferences}";
    let sets = space.kubectl(&["get", "replicasets", "-o", owners]);
    assert_eq!(sets.good(), "", "the ReplicaSet has no owner");
    assert_eq!(space.kubectl(&["get", "replicasets", "--no-headers"]).good().lines().count(), 1);
    space.kubectl(&["delete", "replicasets", "--all", "--cascade=orphan", "--timeout=10s"]).good();
    assert_eq!(space.kubectl(&["get", "pods", "--no-headers"]).good().lines().count(), 1);
    assert_eq!(space.kubectl(&["get", "pods", "-o", owners]).good(), "");
}
