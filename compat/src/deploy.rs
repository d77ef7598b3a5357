//! The manifests of `deploy/` on a real API server, and whether their accounts have the rights that the programs need.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::dns::corefile::Case;
use crate::dns::servers::{self, Source};
use crate::dns::upstream;
use crate::generate::NODE;
use crate::peers::Peers;
use crate::process::{Process, is_well, last_words};

/// How long the proxy may take for its first rules.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the proxy tells its health.
const HEALTH: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10256);
/// The role that kubeadm gives to the account of CoreDNS, and its bindings; the proxy's role is Kubernetes' own.
const KUBEADM: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "coredns", "namespace": "kube-system"}},
  {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "kube-proxy", "namespace": "kube-system"}},
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "system:coredns"}, "rules": [
    {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}]},
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "system:coredns"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
    "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}]},
  {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "kubeadm:node-proxier"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:node-proxier"},
    "subjects": [{"kind": "ServiceAccount", "name": "kube-proxy", "namespace": "kube-system"}]}
]}"#;

/// Applies every manifest of a folder with strict validation, then runs `portolan dns` and `portolan proxy` with no more
/// rights than the accounts that the manifests name.
///
/// # Errors
/// What the API server does not accept, or a program that does not become ready.
pub fn check(peers: &Peers, manifests: &Path, portolan: &Path) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let kubeadm = folder.path().join("kubeadm.json");
    fs::write(&kubeadm, KUBEADM)?;
    println!("{}", apply(peers, &kubeadm)?.trim_end());
    let mut files: Vec<PathBuf> =
        fs::read_dir(manifests)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    ensure!(!files.is_empty(), "{} has no manifests", manifests.display());
    for file in &files {
        println!("{}", apply(peers, file)?.trim_end());
    }
    peers.namespace().run(|| -> anyhow::Result<()> {
        let case = Case::of("kubeadm").context("there is a Corefile of kubeadm")?;
        let source = Source::Cluster(account(peers, folder.path(), "coredns")?);
        let server = servers::ours(portolan, case, upstream::serve()?, &source, folder.path())?;
        println!("portolan dns is ready as the account coredns, at {}", server.address);
        proxy(portolan, &account(peers, folder.path(), "kube-proxy")?, folder.path())?;
        println!("portolan proxy is healthy as the account kube-proxy");
        Ok(())
    })?
}

fn apply(peers: &Peers, file: &Path) -> anyhow::Result<String> {
    let kubeconfig = peers.kubeconfig();
    let [kubeconfig, file] = [&kubeconfig, file].map(|path| path.display().to_string());
    peers.run("kubectl", &["--kubeconfig", &kubeconfig, "apply", "--validate=strict", "-f", &file])
}

/// A kubeconfig with the rights of an account of `kube-system`.
fn account(peers: &Peers, folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let mut config: Value = serde_json::from_str(&fs::read_to_string(peers.kubeconfig())?)?;
    let user = &mut config["users"][0]["user"];
    user["as"] = format!("system:serviceaccount:kube-system:{name}").into();
    user["as-groups"] =
        json!(["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"]);
    let path = folder.join(format!("{name}.kubeconfig"));
    fs::write(&path, config.to_string())?;
    Ok(path)
}

/// Starts the proxy and waits until it says that it is healthy, which it is once it has its rules.
fn proxy(portolan: &Path, kubeconfig: &Path, folder: &Path) -> anyhow::Result<()> {
    let log = folder.join("proxy.log");
    let mut command = Command::new(portolan);
    command.arg("proxy").arg("--kubeconfig").arg(kubeconfig).args(["--hostname-override", NODE]);
    let mut process = Process::start(&mut command, &log)?;
    let begin = Instant::now();
    while !is_well(HEALTH, "/healthz") {
        let late = process.has_ended() || begin.elapsed() > PATIENCE;
        ensure!(!late, "portolan proxy is not healthy: {}", last_words(&log));
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
