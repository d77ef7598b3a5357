//! `portolan proxy` and `portolan dns` by themselves, as they stand in for kube-proxy and CoreDNS: processes with a
//! kubeconfig, in a network namespace that is a node.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use testbed::Namespace;

use crate::harness::{PROGRAM, Process, Said, eventually, may_run, run, start_ready};

/// The node's address and those of its pod, which answers on port 80.
const NODE: &str = "192.0.2.1";
const POD: &str = "10.98.0.2";
const SERVICE: &str = "10.96.5.5:80";

const OBJECTS: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: n1}
status:
  addresses: [{type: InternalIP, address: 192.0.2.1}]
  conditions: [{type: Ready, status: "True"}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  type: LoadBalancer
  clusterIP: 10.96.5.5
  externalTrafficPolicy: Local
  healthCheckNodePort: 30999
  ports: [{name: http, port: 80}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 80, protocol: TCP}]
endpoints: [{addresses: [10.98.0.2], nodeName: n1, conditions: {ready: true}}]
"#;

/// A node with a pod and an API server, removed with the value.
struct Ground {
    node: String,
    pod: String,
    folder: tempfile::TempDir,
    _api: Process,
    _server: Server,
}

impl Drop for Ground {
    fn drop(&mut self) {
        for name in [&self.node, &self.pod] {
            drop(Namespace::delete(name));
        }
    }
}

/// Answers each byte, until dropped.
struct Server(Arc<AtomicBool>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Server {
    fn start(pod: &str) -> Self {
        let namespace = Namespace::open(pod).unwrap();
        let listener = namespace.run(|| TcpListener::bind("0.0.0.0:80")).unwrap().unwrap();
        listener.set_nonblocking(true).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let ends = stop.clone();
        std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => drop(std::thread::spawn(move || echo(stream))),
                    Err(_) => std::thread::sleep(Duration::from_millis(1)),
                }
            }
        });
        Self(stop)
    }
}

fn echo(mut stream: TcpStream) {
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
}

impl Ground {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let names = ["node", "pod"].map(|role| format!("al{}x{number}-{role}", std::process::id()));
        names.iter().for_each(|name| drop(Namespace::ensure(name).unwrap()));
        let [node, pod] = names;
        for line in [
            format!("-n {node} link set lo up"),
            format!("-n {node} link add pod0 type veth peer name eth0 netns {pod}"),
            format!("-n {node} addr add 10.98.0.1/24 dev pod0"),
            format!("-n {node} link set pod0 up"),
            format!("-n {node} link add up0 type veth peer name up1"),
            format!("-n {node} addr add {NODE}/24 dev up0"),
            format!("-n {node} link set up0 up"),
            format!("-n {node} link set up1 up"),
            format!("-n {node} route add default via 192.0.2.254"),
            format!("-n {pod} addr add {POD}/24 dev eth0"),
            format!("-n {pod} link set eth0 up"),
            format!("-n {pod} route add default via 10.98.0.1"),
        ] {
            run(Command::new("ip").args(line.split(' '))).good();
        }
        let folder = tempfile::Builder::new().prefix("portolan-alone-").tempdir().unwrap();
        let server = Server::start(&pod);
        let data = folder.path().join("data");
        let mut command = on(&node, PROGRAM);
        command.args(["apiserver", "--bind", "127.0.0.1:6443", "--data-dir"]).arg(&data);
        let (api, _) = start_ready(&mut command, &folder.path().join("api.log")).unwrap();
        let ground = Self { node, pod, folder, _api: api, _server: server };
        let manifest = ground.folder.path().join("objects.yaml");
        std::fs::write(&manifest, OBJECTS).unwrap();
        ground.kubectl(&["apply", "-f", manifest.to_str().unwrap()]).good();
        ground.node_addresses(&format!(r#"[{{"type":"InternalIP","address":"{NODE}"}}]"#));
        ground
    }

    fn node_addresses(&self, list: &str) {
        let status = format!(r#"{{"status":{{"addresses":{list}}}}}"#);
        self.kubectl(&["patch", "node", "n1", "--subresource=status", "--type=merge", "-p", &status]).good();
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("data/kubeconfig")
    }

    fn kubectl(&self, arguments: &[&str]) -> Said {
        run(on(&self.node, "kubectl").arg("--kubeconfig").arg(self.kubeconfig()).args(arguments))
    }

    fn curl(&self, url: &str) -> Said {
        run(on(&self.node, "curl").args(["-sS", "-i", "--max-time", "5", "--noproxy", "*", url]))
    }

    fn start(&self, part: &str, arguments: &[&str]) -> Process {
        let mut command = on(&self.node, PROGRAM);
        command.arg(part).arg("--kubeconfig").arg(self.kubeconfig()).args(arguments);
        let log = std::fs::File::create(self.folder.path().join(format!("{part}.log"))).unwrap();
        Process(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    /// A connection of the node to the Service.
    fn connect(&self) -> std::io::Result<TcpStream> {
        let to: SocketAddr = SERVICE.parse().unwrap();
        let namespace = Namespace::open(&self.node).unwrap();
        let stream = namespace.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(2))).unwrap()?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        Ok(stream)
    }
}

/// A command in a namespace.
fn on(namespace: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, program]);
    command
}

/// Whether a connection is answered.
fn ping(stream: &mut TcpStream) -> bool {
    stream.write_all(b"?").is_ok() && stream.read_exact(&mut [0]).is_ok()
}

fn end(mut process: Process) {
    let id = rustix::process::Pid::from_child(&process.0);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert!(process.0.wait().unwrap().success(), "it ends well when it is told to");
}

#[test]
fn the_proxy_stands_in_for_kube_proxy_and_outlives_its_restarts() {
    if !may_run("the proxy by itself") {
        return;
    }
    let ground = Ground::new();
    let proxy = ground.start("proxy", &["--hostname-override=n1", "--cluster-cidr=10.98.0.0/16"]);
    eventually("the Service answers", || {
        ground.connect().map(|mut stream| ping(&mut stream)).map_err(|error| error.to_string())
    });
    let body = |url: &str| {
        let said = ground.curl(url);
        assert!(said.ok, "{url}: {}", said.err);
        said.out
    };
    assert!(body("http://127.0.0.1:10256/healthz").contains("200 OK"));
    assert!(body("http://127.0.0.1:10256/livez").contains("200 OK"));
    let metrics = body("http://127.0.0.1:10249/metrics");
    for name in [
        "kubeproxy_sync_proxy_rules_duration_seconds_count",
        "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
    ] {
        assert!(metrics.contains(name), "{name} is not in\n{metrics}");
    }
    assert!(body("http://127.0.0.1:10249/proxyMode").ends_with("nftables"));
    assert!(body("http://127.0.0.1:10249/configz").contains("kubeproxy.config.k8s.io"));
    let serves_at = |address: &str| {
        eventually("load balancers are told at a node's addresses", || {
            let health = ground.curl(&format!("http://{address}:30999/"));
            let good =
                health.out.contains("200 OK") && health.out.replace(' ', "").contains("\"localEndpoints\":1");
            if good { Ok(()) } else { Err(format!("{address}: {}{}", health.out, health.err)) }
        });
    };
    serves_at(NODE);
    // Any address is that of a node which has none, so the port is taken when the node has one again.
    ground.node_addresses("null");
    serves_at("127.0.0.1");
    ground.node_addresses(&format!(r#"[{{"type":"InternalIP","address":"{NODE}"}}]"#));
    eventually("load balancers are told nowhere else", || {
        let elsewhere = ground.curl("http://127.0.0.1:30999/");
        if elsewhere.ok { Err(elsewhere.out) } else { Ok(()) }
    });
    serves_at(NODE);

    let mut lasting = ground.connect().unwrap();
    assert!(ping(&mut lasting));
    end(proxy);
    assert!(ping(&mut lasting), "a connection goes on without the proxy");
    assert!(ping(&mut ground.connect().unwrap()), "the rules are left in place");

    let restarted = ground.start("proxy", &["--hostname-override=n1", "--cluster-cidr=10.98.0.0/16"]);
    let mut connections = 0;
    eventually("the proxy is up again", || {
        assert!(ping(&mut ground.connect().unwrap()), "no connection fails while the proxy starts");
        connections += 1;
        let health = ground.curl("http://127.0.0.1:10256/healthz");
        if health.out.contains("200 OK") { Ok(()) } else { Err(health.err) }
    });
    assert!(ping(&mut lasting), "nor does one that was there before");

    ground.kubectl(&["delete", "endpointslice", "web-1"]).good();
    eventually("the Service has no endpoint any more", || match ground.connect() {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
        other => Err(format!("{other:?}")),
    });
    eventually("load balancers leave the node out", || {
        let health = ground.curl(&format!("http://{NODE}:30999/")).out;
        if health.contains("503 Service Unavailable") { Ok(()) } else { Err(health) }
    });
    end(restarted);
    run(on(&ground.node, PROGRAM).args(["proxy", "--cleanup"])).good();
    let left = run(on(&ground.node, "nft").args(["list", "ruleset"])).good();
    assert!(!left.contains("portolan"), "{left}");
}

#[test]
fn dns_stands_in_for_coredns_with_its_corefile_health_and_metrics() {
    if !may_run("DNS by itself") {
        return;
    }
    let ground = Ground::new();
    let corefile = ground.folder.path().join("Corefile");
    let text = "
.:53 {
    bind 127.0.0.1
    errors
    health 127.0.0.1:8080 { lameduck 1s }
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus 127.0.0.1:9153
    hosts {
       192.0.2.77 outside.example
       fallthrough
    }
    reload 2s
    loadbalance
}
";
    std::fs::write(&corefile, text).unwrap();
    let dns = ground.start("dns", &["--conf", corefile.to_str().unwrap()]);
    let dig = |question: &str| {
        let fixed = ["@127.0.0.1", "+short", "+time=2", "+tries=1"];
        run(on(&ground.node, "dig").args(fixed).args(question.split(' '))).good()
    };
    eventually("names are known", || {
        let ready = ground.curl("http://127.0.0.1:8181/ready");
        if ready.out.contains("200 OK") { Ok(()) } else { Err(ready.out) }
    });
    assert_eq!(dig("web.default.svc.cluster.local"), "10.96.5.5");
    assert_eq!(dig("+tcp -x 10.96.5.5"), "web.default.svc.cluster.local.");
    assert_eq!(dig("outside.example"), "192.0.2.77");
    assert!(ground.curl("http://127.0.0.1:8080/health").out.contains("200 OK"));
    let metrics = ground.curl("http://127.0.0.1:9153/metrics").out;
    for name in [
        "coredns_dns_requests_total",
        "coredns_dns_responses_total",
        "coredns_build_info",
        "coredns_plugin_enabled",
    ] {
        assert!(metrics.contains(name), "{name} is not in\n{metrics}");
    }
    std::fs::write(&corefile, text.replace("192.0.2.77", "192.0.2.78")).unwrap();
    eventually("the changed Corefile counts", || match dig("outside.example") {
        address if address == "192.0.2.78" => Ok(()),
        other => Err(other),
    });
    std::fs::write(&corefile, text.replace("loadbalance", "lodebalance")).unwrap();
    eventually("a Corefile that cannot be followed is told", || {
        let metrics = ground.curl("http://127.0.0.1:9153/metrics").out;
        if metrics.contains("coredns_reload_failed_total 1") { Ok(()) } else { Err(metrics) }
    });
    assert_eq!(dig("outside.example"), "192.0.2.78", "and changes nothing");
    ground.kubectl(&["delete", "service", "web"]).good();
    eventually("a Service that is gone has no name", || {
        let answer = dig("web.default.svc.cluster.local");
        if answer.is_empty() { Ok(()) } else { Err(answer) }
    });
    end(dns);
}
