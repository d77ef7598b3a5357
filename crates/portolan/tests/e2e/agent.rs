//! Who may call a node's agent: the API server decides, by the same authorizer as for its own requests.

use crate::harness::{Cluster, may_run};

#[test]
fn a_certificate_of_the_cluster_is_not_enough_to_look_into_pods() {
    if !may_run("agent") {
        return;
    }
    let cluster = Cluster::shared();
    let authority = apiserver::pki::Authority::open(&cluster.data_dir().join("pki")).expect("it can be read");
    let space = cluster.space("closed");
    let pod = space.shell();
    let node = space.value(&format!("pod/{pod}"), ".spec.nodeName");
    let address =
        cluster.kubectl(&["get", "node", &node, "-o", "jsonpath={.status.addresses[0].address}"]).good();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let ask = |user: &str, group: &str, method: &str, path: &str| {
        let leaf = authority.client(user, group).expect("a certificate can be made");
        let file = |name: &str, text: &str| {
            let file = folder.path().join(format!("{user}.{name}"));
            std::fs::write(&file, text).expect("a file can be written");
            file.display().to_string()
        };
        let (certificate, key) = (file("crt", &leaf.certificate_pem), file("key", &leaf.key_pem));
        let url = format!("https://{address}:10250{path}");
        let fixed = ["curl", "-sS", "-k", "--max-time", "10", "-w", "\n%{http_code}", "-X", method];
        let keys = ["--cert", &certificate, "--key", &key, &url];
        cluster.on("node1", &[&fixed[..], &keys].concat()).good()
    };
    let log = format!("/containerLogs/{}/{pod}/{pod}", space.name);
    let exec = format!("/exec/{}/{pod}/{pod}?command=id&output=1", space.name);
    for (method, path, verb) in
        [("GET", "/pods", "get"), ("GET", log.as_str(), "get"), ("POST", exec.as_str(), "create")]
    {
        let said = ask("jane", "dev", method, path);
        assert!(said.ends_with("\n403"), "{path}: {said}");
        assert!(
            said.starts_with(&format!("Forbidden (user=jane, verb={verb}, resource=nodes")),
            "{path}: {said}"
        );
    }
    assert!(ask("root", "system:masters", "GET", "/pods").ends_with("\n200"));
    assert!(ask("root", "system:masters", "GET", &log).ends_with("\n200"));
}
