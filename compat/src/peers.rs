//! The real things: etcd, kube-apiserver and kube-proxy in a network namespace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use http::Request;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::Namespace;

use crate::generate::{self, Cluster, NODE, NODE_IPS};
use crate::process::{self, Process};

/// The Service whose rules show that kube-proxy has taken in all others: it is created last.
const LAST: &str = "zz-last";
/// The collections that decide where packets go, and the kinds of their objects.
pub const PACKETS: [(&str, &str); 4] = [
    ("/api/v1/services", "Service"),
    ("/apis/discovery.k8s.io/v1/endpointslices", "EndpointSlice"),
    ("/api/v1/nodes", "Node"),
    ("/apis/networking.k8s.io/v1/servicecidrs", "ServiceCIDR"),
];
/// How long anything may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "compat";

/// A control plane without controllers: what is written is what kube-proxy sees.
#[derive(Debug)]
pub struct Peers {
    programs: PathBuf,
    namespace: Namespace,
    folder: TempDir,
    // In this order they end.
    _apiserver: Process,
    _etcd: Process,
}

impl Drop for Peers {
    fn drop(&mut self) {
        if let Err(error) = Namespace::delete(self.namespace.name()) {
            eprintln!("{error}");
        }
    }
}

impl Peers {
    /// Starts etcd and kube-apiserver, whose programs are in this folder, and makes the Node.
    ///
    /// # Errors
    /// Names the program that does not start or answer.
    pub fn start(programs: &Path) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let namespace = Namespace::ensure(&format!("compat-{}", std::process::id()))?;
        wire(&namespace)?;
        let file = |name: &str| folder.path().join(name);
        fs::write(file("tokens"), format!("{TOKEN},admin,admin,system:masters\n"))?;
        let key = Command::new("openssl").args(["genrsa", "-out"]).arg(file("key")).arg("2048").output()?;
        ensure!(key.status.success(), "openssl makes no key");
        fs::write(file("kubeconfig"), kubeconfig())?;
        let etcd = start(
            &namespace,
            Command::new(programs.join("etcd"))
                .arg("--data-dir")
                .arg(file("etcd"))
                .args([
                    "--listen-client-urls=http://127.0.0.1:2379",
                    "--advertise-client-urls=http://127.0.0.1:2379",
                ])
                .args(["--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level=error"]),
            &file("etcd.log"),
        )?;
        let flag = |name: &str, path: PathBuf| format!("--{name}={}", path.display());
        let apiserver = start(
            &namespace,
            Command::new(programs.join("kube-apiserver"))
                .args(["--etcd-servers=http://127.0.0.1:2379", "--authorization-mode=RBAC"])
                .args([
                    "--disable-admission-plugins=ServiceAccount",
                    "--secure-port=6443",
                    "--allow-privileged=true",
                ])
                .args(["--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112"])
                .args([
                    &format!("--advertise-address={}", NODE_IPS[0]),
                    "--service-account-issuer=https://compat",
                ])
                .arg(flag("token-auth-file", file("tokens")))
                .arg(flag("service-account-key-file", file("key")))
                .arg(flag("service-account-signing-key-file", file("key")))
                .arg(flag("cert-dir", file("certs"))),
            &file("apiserver.log"),
        )?;
        let peers =
            Self { programs: programs.to_owned(), namespace, folder, _apiserver: apiserver, _etcd: etcd };
        peers.wait_for("kube-apiserver", || peers.call("GET", "/readyz", None).is_ok())?;
        peers.call("POST", "/api/v1/nodes", Some(&generate::node()))?;
        let status = json!({"status": generate::node_status()});
        peers.call("PATCH", &format!("/api/v1/nodes/{NODE}/status"), Some(&status))?;
        Ok(peers)
    }

    /// The namespace in which everything runs.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Replaces all Services and EndpointSlices of the namespace `default` by these. Services that the API server
    /// does not accept are left out with a word.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub fn fill(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
        let services = "/api/v1/namespaces/default/services";
        // The API server keeps its own Service and slice.
        let others = "labelSelector=kubernetes.io%2Fservice-name%21%3Dkubernetes";
        self.call("DELETE", &format!("{slices}?{others}"), None)?;
        let listed: Value = serde_json::from_str(&self.call("GET", services, None)?)?;
        for service in listed["items"].as_array().into_iter().flatten() {
            let name = service["metadata"]["name"].as_str().unwrap_or_default();
            if name != "kubernetes" {
                self.call("DELETE", &format!("{services}/{name}"), None)?;
            }
        }
        let mut refused = 0;
        for service in &cluster.services {
            if let Err(error) = self.call("POST", services, Some(service)) {
                refused += 1;
                eprintln!("the API server refuses a Service: {}", short(&error));
            }
        }
        ensure!(refused * 4 < cluster.services.len().max(4), "the API server refuses most Services");
        for (name, status) in &cluster.balanced {
            // The Service may be one of those that were refused.
            let _ =
                self.call("PATCH", &format!("{services}/{name}/status"), Some(&json!({"status": status})));
        }
        for slice in &cluster.slices {
            self.call("POST", slices, Some(slice))?;
        }
        let last = json!({"metadata": {"name": LAST}, "spec": {"ports": [{"port": 1}]}});
        self.call("POST", services, Some(&last))?;
        Ok(())
    }

    /// All objects of these collections, given with their kinds, as `kubectl get -o json` prints them.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub fn objects(&self, collections: &[(&str, &str)]) -> anyhow::Result<Value> {
        let mut items = Vec::new();
        for &(path, kind) in collections {
            let mut list: Value = serde_json::from_str(&self.call("GET", path, None)?)?;
            for mut item in list["items"].as_array_mut().map(std::mem::take).into_iter().flatten() {
                item["kind"] = kind.into();
                if let Some(metadata) = item["metadata"].as_object_mut() {
                    metadata.remove("managedFields");
                }
                items.push(item);
            }
        }
        Ok(json!({"kind": "List", "items": items}))
    }

    /// Runs kube-proxy with this configuration until its rules hold the last Service, calls `read` and ends it.
    ///
    /// # Errors
    /// When the rules never come.
    pub fn with_kube_proxy<T>(
        &self,
        settings: &str,
        dump: impl Fn() -> anyhow::Result<String>,
        read: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let file = self.folder.path().join("kube-proxy.yaml");
        let kubeconfig = self.kubeconfig();
        fs::write(&file, format!("{settings}clientConnection: {{kubeconfig: {}}}\n", kubeconfig.display()))?;
        let log = self.folder.path().join("kube-proxy.log");
        let flag = format!("--config={}", file.display());
        let process = start(&self.namespace, Command::new(self.program("kube-proxy")).arg(flag), &log)?;
        let synced = self.wait_for("kube-proxy", || dump().is_ok_and(|text| text.contains(LAST)));
        let result = synced.and_then(|()| read());
        drop(process);
        result.with_context(|| process::last_words(&log))
    }

    /// Removes all rules, whoever made them.
    ///
    /// # Errors
    /// When a program is missing.
    pub fn flush(&self) -> anyhow::Result<()> {
        for program in ["iptables", "ip6tables"] {
            for table in ["filter", "nat", "mangle"] {
                for action in ["-F", "-X"] {
                    self.run(program, &["-t", table, action])?;
                }
            }
        }
        self.run("nft", &["flush", "ruleset"]).map(drop)
    }

    /// Runs a program in the namespace and returns what it prints.
    ///
    /// # Errors
    /// What it says when it fails.
    pub fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.namespace.run(|| Command::new(program).args(arguments).output())??;
        ensure!(
            output.status.success(),
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn wait_for(&self, what: &str, ready: impl Fn() -> bool) -> anyhow::Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if ready() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("{what} did not come up within {} s", PATIENCE.as_secs())
    }

    /// The file with which a program reaches the API server.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// A program of the peers.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// One request to the API server; a `PATCH` is a merge patch (RFC 7386).
    ///
    /// # Errors
    /// What the API server says when it refuses.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<String> {
        let text = body.map(ToString::to_string).unwrap_or_default();
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", content)
            .body(text.into_bytes())?;
        self.namespace.run(move || -> anyhow::Result<String> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut config = kube::Config::new("https://127.0.0.1:6443".parse()?);
                config.accept_invalid_certs = true;
                config.auth_info.token = Some(TOKEN.to_owned().into());
                Ok(kube::Client::try_from(config)?.request_text(request).await?)
            })
        })?
    }
}

/// What the API server says, without the parts that programs read.
pub(crate) fn short(error: &anyhow::Error) -> String {
    match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => status.message.clone(),
        _ => format!("{error:#}"),
    }
}

/// Gives the namespace an interface with the node's addresses.
fn wire(namespace: &Namespace) -> anyhow::Result<()> {
    let ip = |arguments: &str| -> anyhow::Result<()> {
        let status = Command::new("ip").args(["-n", namespace.name()]).args(arguments.split(' ')).status()?;
        ensure!(status.success(), "ip {arguments}");
        Ok(())
    };
    ip("link set lo up")?;
    ip("link add node0 type veth peer name node1")?;
    ip("link set node0 up")?;
    ip("link set node1 up")?;
    for address in NODE_IPS {
        match address.contains(':') {
            true => ip(&format!("addr add {address}/64 dev node0 nodad"))?,
            false => ip(&format!("addr add {address}/24 dev node0"))?,
        }
    }
    ip("route add default via 192.0.2.254")
}

fn start(namespace: &Namespace, command: &mut Command, log: &Path) -> anyhow::Result<Process> {
    namespace.run(|| Process::start(command, log))?
}

fn kubeconfig() -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "compat",
        "clusters": [{"name": "compat", "cluster": {"server": "https://127.0.0.1:6443", "insecure-skip-tls-verify": true}}],
        "users": [{"name": "compat", "user": {"token": TOKEN}}],
        "contexts": [{"name": "compat", "context": {"cluster": "compat", "user": "compat"}}],
    })
    .to_string()
}
