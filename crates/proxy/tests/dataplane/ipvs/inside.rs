//! Run inside the virtual machine, where the test beside this file starts them.

use std::fs::File;
use std::io::ErrorKind;
use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proxy::ipvs::{self, Ipvs};
use proxy::xtables::Place;
use proxy::xtables::text::{Normal, Tables};
use proxy::{Config, IpvsConfig, Mode, ModeName};
use serde_json::{Value, json};
use service::Family;

use crate::namespace::Namespace;
use crate::scene::{CLIENT, NODE, POD1, POD1_V6, POD2, POD2_V6, Scene, config, service, slice, slice_of};
use crate::server::{Asker, Connection, ask};

/// How many tests there are here, so that none is left out unseen.
pub(super) const TESTS: usize = 15;

const VIP: &str = "10.96.0.20";
const FRONT: &str = "10.96.0.20:8080";
const NODE_PORT: &str = "192.0.2.1:31688";
const EXTERNAL_IP: &str = "198.51.100.7:8080";
const BALANCER: &str = "198.51.100.9:8080";
const BOTH: [(&str, &str); 2] = [(POD1, "node"), (POD2, "node")];

pub(super) fn place(node: &Namespace) -> Place {
    Place::namespace(File::open(format!("/run/netns/{}", node.name)).unwrap())
}

pub(super) fn mode(node: &Namespace) -> Box<dyn Mode> {
    Box::new(Ipvs::new(place(node)))
}

fn settings() -> Config {
    Config { mode: ModeName::Ipvs, ..config() }
}

/// A scene for most tests: to make one takes seconds in an emulated machine, which goes with all that is in it.
static SCENE: LazyLock<Mutex<Scene>> = LazyLock::new(|| Mutex::new(new_scene()));

fn new_scene() -> Scene {
    Scene::in_mode(mode, settings()).expect("the virtual machine runs this as root")
}

/// The scene without objects.
fn scene() -> MutexGuard<'static, Scene> {
    let mut scene = SCENE.lock().unwrap_or_else(PoisonError::into_inner);
    scene.clear();
    scene
}

/// A Service with all kinds of addresses.
fn web(spec: Value) -> Value {
    let mut fields = json!({
        "type": "LoadBalancer", "ports": [{"name": "http", "port": 8080, "nodePort": 31688}],
        "externalIPs": ["198.51.100.7"]
    });
    spec.as_object().unwrap().iter().for_each(|(field, value)| fields[field] = value.clone());
    let mut web = service("web", VIP, fields);
    web["status"] = json!({"loadBalancer": {"ingress": [{"ip": "198.51.100.9"}]}});
    web
}

fn run(node: &Namespace, program: &str, arguments: &str) -> String {
    let words = arguments.split(' ').filter(|word| !word.is_empty());
    let output = node.run(|| Command::new(program).args(words.clone()).output().unwrap());
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.sort_unstable();
    lines
}

fn virtual_servers(node: &Namespace) -> Vec<String> {
    sorted(&run(node, "ipvsadm", "-Sn"))
}

fn sets(node: &Namespace) -> Vec<String> {
    // How large a hash is and when it was made is nobody's concern.
    let added = |text: &str| {
        text.lines().filter(|line| line.starts_with("add ")).map(str::to_owned).collect::<Vec<_>>()
    };
    sorted(&added(&run(node, "ipset", "save")).join("\n"))
}

/// Table, chain, and rules.
type Chains = Vec<(String, String, Vec<Normal>)>;

fn chains(node: &Namespace, save: &str) -> Chains {
    normal(&Tables::parse(&run(node, save, "")).unwrap())
}

fn normal(tables: &Tables) -> Chains {
    let mut chains: Vec<_> = tables
        .iter()
        .flat_map(|table| table.chains().iter().map(move |chain| (table, chain)))
        .filter(|(_, chain)| chain.policy.is_none() || !chain.rules.is_empty())
        .map(|(table, chain)| {
            let rules = chain.rules.iter().map(|rule| rule.normal().unwrap()).collect();
            (table.name.clone(), chain.name.clone(), rules)
        })
        .collect();
    chains.sort();
    chains
}

/// All that the kernel holds.
fn held(node: &Namespace) -> (Vec<String>, Vec<String>, Chains) {
    (virtual_servers(node), sets(node), chains(node, "iptables-save"))
}

#[test]
#[ignore = "needs a kernel with IPVS"]
fn connections_take_turns_at_every_address_from_everywhere() {
    let mut scene = scene();
    scene.apply(&[web(json!({})), slice("web-1", "web", &BOTH)]);
    for from in [&scene.pod1, &scene.node, &scene.client] {
        for front in [FRONT, NODE_PORT, EXTERNAL_IP, BALANCER] {
            let spread = scene.spread(from, front, 6);
            assert_eq!(spread.into_values().collect::<Vec<_>>(), [3, 3], "{} -> {front}", from.name);
        }
    }
}

#[test]
#[ignore = "needs a kernel with IPVS"]
fn pods_are_seen_at_the_cluster_ip_and_nobody_elsewhere() {
    let mut scene = scene();
    scene.apply(&[web(json!({})), slice("web-1", "web", &BOTH[..1])]);
    let seen = |from: &Namespace, front: &str| ask(from, front).unwrap().client.to_string();
    assert_eq!(seen(&scene.pod2, FRONT), POD2);
    assert_eq!(seen(&scene.pod1, FRONT), "10.244.1.1", "a pod that meets itself");
    assert_eq!(seen(&scene.client, FRONT), "10.244.1.1", "from elsewhere");
    assert_eq!(seen(&scene.node, FRONT), "10.244.1.1", "the node");
    for front in [NODE_PORT, EXTERNAL_IP, BALANCER] {
        assert_eq!(seen(&scene.client, front), "10.244.1.1", "{front}");
        assert_eq!(seen(&scene.pod2, front), "10.244.1.1", "{front}");
    }
}

#[test]
#[ignore = "needs a kernel with IPVS"]
fn external_traffic_policy_local_keeps_the_client_and_the_node() {
    let mut scene = scene();
    let endpoints = [(POD1, "node"), (POD2, "elsewhere")];
    scene.apply(&[web(json!({"externalTrafficPolicy": "Local"})), slice("web-1", "web", &endpoints)]);
    for front in [NODE_PORT, EXTERNAL_IP, BALANCER] {
        assert_eq!(scene.spread(&scene.client, front, 4).keys().collect::<Vec<_>>(), ["pod1"], "{front}");
        assert_eq!(ask(&scene.client, front).unwrap().client.to_string(), CLIENT, "{front}");
    }
    assert_eq!(scene.spread(&scene.client, FRONT, 4).len(), 2, "the cluster IP has its own policy");
}

#[test]
#[ignore = "needs a kernel with IPVS"]
fn a_client_with_affinity_stays_with_its_endpoint() {
    let mut scene = scene();
    scene.apply(&[web(json!({"sessionAffinity": "ClientIP"})), slice("web-1", "web", &BOTH)]);
    for from in [&scene.pod1, &scene.client] {
        assert_eq!(scene.spread(from, FRONT, 6).len(), 1, "{}", from.name);
    }
    assert!(virtual_servers(&scene.node).contains(&format!("-A -t {FRONT} -s rr -p 10800")));
}

#[test]
#[ignore = "needs a kernel with IPVS"]
fn weights_count_with_a_scheduler_that_looks_at_them() {
    let mut scene = scene();
    let mut web = web(json!({}));
    web["metadata"]["annotations"] = json!({"portolan.dev/scheduler": "wrr"});
    let mut slice = slice("web-1", "web", &BOTH);
    slice["metadata"]["annotations"] = json!({"portolan.dev/weights": "10.244.1.2=3"});
    scene.apply(&[web, slice]);
    let spread = scene.spread(&scene.client, FRONT, 8);
    assert_eq!(spread.into_iter().collect::<Vec<_>>(), [("pod1".to_owned(), 6), ("pod2".to_owned(), 2)]);
}

#[test]
#[ignore = "needs a kernel with IPVS"]
fn a_connection_goes_on_after_its_endpoint_is_gone_and_the_real_server_goes_when_it_ends() {
    // It waits so long that others go on beside it.
    let mut scene = new_scene();
    scene.apply(&[web(json!({})), slice("web-1", "web", &BOTH[..1])]);
    let mut connection = Connection::open(&scene.client, FRONT).unwrap();
    assert_eq!(connection.ask().unwrap().server, "pod1");
    scene.apply(&[slice("web-1", "web", &BOTH[1..])]);
    let drains = format!("-a -t {FRONT} -r {POD1}:80 -m -w 0");
    assert!(virtual_servers(&scene.node).contains(&drains));
    assert_eq!(scene.spread(&scene.client, FRONT, 4).keys().collect::<Vec<_>>(), ["pod2"]);
    assert_eq!(connection.ask().unwrap().server, "pod1");
    scene.tend();
    scene.restart();
    assert!(virtual_servers(&scene.node).contains(&drains), "a restart does not cut it");
    assert_eq!(connection.ask().unwrap().server, "pod1");
    connection.abandon();
    let start = Instant::now();
    while virtual_servers(&scene.node).contains(&drains) {
        assert!(start.elapsed() < Duration::from_secs(40), "it is still there");
        std::thread::sleep(Duration::from_millis(500));
        scene.tend();
    }
}

#[test]
#[ignore = "needs a kernel with IPVS"]
fn an_endpoint_that_comes_back_while_it_drains_serves_again() {
    let mut scene = scene();
    scene.apply(&[web(json!({})), slice("web-1", "web", &BOTH)]);
    let connections = [1, 2].map(|_| Connection::open(&scene.client, FRONT).unwrap());
    scene.apply(&[slice("web-1", "web", &BOTH[1..])]);
    assert_eq!(scene.spread(&scene.client, FRONT, 4).len(), 1);
    scene.apply(&[slice("web-1", "web", &BOTH)]);
    scene.tend();
    assert_eq!(scene.spread(&scene.client, FRONT, 4).len(), 2);
    drop(connections);
}

#[test]
#[ignore = "needs a kernel with IPVS"]
fn without_endpoints_and_at_other_ports_connections_are_refused_at_once() {
    let mut scene = scene();
    scene.apply(&[web(json!({}))]);
    for front in [FRONT, NODE_PORT, BALANCER, "10.96.0.20:81", "198.51.100.9:22"] {
        for from in [&scene.pod1, &scene.client] {
            let error = ask(from, front).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{} -> {front}", from.name);
        }
    }
}

#[test]
#[ignore = "needs a kernel with IPVS"]
fn source_ranges_decide_who_comes_in_at_the_balancers_address() {
    let mut scene = scene();
    let ranges = |range: &str| web(json!({"loadBalancerSourceRanges": [range]}));
    scene.apply(&[ranges("192.0.2.128/25"), slice("web-1", "web", &BOTH)]);
    assert_eq!(ask(&scene.client, BALANCER).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(ask(&scene.node, BALANCER).unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(ask(&scene.client, EXTERNAL_IP).is_ok(), "they are about balancers only");
    scene.apply(&[ranges("192.0.2.0/25")]);
    assert!(ask(&scene.client, BALANCER).is_ok());
    assert!(ask(&scene.node, BALANCER).is_ok());
}

#[test]
#[ignore = "needs a kernel with IPVS"]
fn ipv6_works_like_ipv4() {
    let mut scene = scene();
    let spec = json!({"clusterIPs": [VIP, "fd00:96::20"]});
    scene.apply(&[service("web", VIP, spec), slice("web-6", "web", &[(POD1_V6, "node"), (POD2_V6, "node")])]);
    for from in [&scene.pod1, &scene.node, &scene.client] {
        assert_eq!(scene.spread(from, "[fd00:96::20]:8080", 4).len(), 2, "{}", from.name);
    }
    let compiled = scene.with_sight(|sight| ipvs::compile(sight, Family::V6, Default::default()).tables());
    assert_eq!(chains(&scene.node, "ip6tables-save"), normal(&compiled));
}

#[test]
#[ignore = "needs a kernel with IPVS"]
fn udp_clients_leave_an_endpoint_that_is_gone() {
    let mut scene = scene();
    let port = json!([{"name": "http", "port": 53, "protocol": "UDP"}]);
    scene.apply(&[
        service("dns", VIP, json!({"ports": port})),
        slice_of("dns-1", "dns", 80, "UDP", &BOTH[..1]),
    ]);
    let asker = Asker::new(&scene.client, &format!("{VIP}:53"));
    assert_eq!(asker.ask().unwrap().server, "pod1");
    scene.apply(&[slice_of("dns-1", "dns", 80, "UDP", &BOTH[1..])]);
    // The first packet may be what ends the connection to the server that is gone.
    let answer = asker.ask().or_else(|_| asker.ask()).unwrap();
    assert_eq!(answer.server, "pod2");
}

#[test]
#[ignore = "needs a kernel with IPVS"]
fn the_kernel_holds_what_is_printed_and_many_changes_leave_what_a_restart_finds() {
    let mut scene = scene();
    scene.apply(&[web(json!({"sessionAffinity": "ClientIP"})), slice("web-1", "web", &BOTH)]);
    for step in 0..8_u8 {
        let (name, ip) = (format!("svc{}", step % 3), format!("10.96.1.{}", step % 3));
        let policy = if step % 2 == 0 { "Local" } else { "Cluster" };
        scene.apply(&[
            service(&name, &ip, json!({"internalTrafficPolicy": policy})),
            slice(&format!("{name}-1"), &name, &BOTH[..usize::from(step % 3)]),
        ]);
        if step % 5 == 4 {
            scene.delete(&[service(&name, &ip, json!({}))]);
        }
    }
    let rules = scene.with_sight(|sight| ipvs::compile(sight, Family::V4, Default::default()));
    let text = rules.to_string();
    let part = |option: &[&str]| -> Vec<String> {
        let lines = text.lines().filter(|line| option.iter().any(|option| line.starts_with(option)));
        sorted(&lines.collect::<Vec<_>>().join("\n"))
    };
    let expected = (part(&["-A -t", "-A -u", "-a -t", "-a -u"]), part(&["add "]), normal(&rules.tables()));
    assert_eq!(held(&scene.node), expected);
    scene.restart();
    assert_eq!(held(&scene.node), expected);
}

#[test]
#[ignore = "needs a kernel with IPVS"]
fn what_somebody_removed_comes_back_and_connections_survive_a_restart() {
    let mut scene = scene();
    scene.apply(&[web(json!({})), slice("web-1", "web", &BOTH)]);
    let mut connection = Connection::open(&scene.client, NODE_PORT).unwrap();
    let server = connection.ask().unwrap().server;
    let whole = held(&scene.node);
    scene.restart();
    assert_eq!(connection.ask().unwrap().server, server);
    for (program, arguments) in [
        ("ipvsadm", "-C"),
        ("ip", "link delete kube-ipvs0"),
        ("iptables", "-w 5 -t nat -F"),
        ("ipset", "flush KUBE-CLUSTER-IP"),
    ] {
        run(&scene.node, program, arguments);
        scene.sync_all();
        assert_eq!(held(&scene.node), whole, "after {program} {arguments}");
    }
}

#[test]
#[ignore = "needs a kernel with IPVS"]
fn virtual_servers_of_others_stay_and_timeouts_are_set() {
    let mut scene = scene();
    run(&scene.node, "ipvsadm", "-A -t 203.0.113.5:80 -s rr");
    run(&scene.node, "ipvsadm", "-A -t 192.0.2.1:9999 -s rr");
    let others = virtual_servers(&scene.node);
    let times =
        IpvsConfig { tcp_timeout: 800, tcp_fin_timeout: 100, udp_timeout: 200, ..IpvsConfig::default() };
    scene.restart_with(Config { ipvs: times, ..settings() });
    scene.apply(&[web(json!({})), slice("web-1", "web", &BOTH)]);
    assert_eq!(run(&scene.node, "ipvsadm", "-l --timeout").trim(), "Timeout (tcp tcpfin udp): 800 100 200");
    scene.restart();
    let now = virtual_servers(&scene.node);
    assert!(others.iter().all(|other| now.contains(other)), "{now:?}");
    scene.delete(&[web(json!({}))]);
    assert_eq!(virtual_servers(&scene.node), others);
    run(&scene.node, "ipvsadm", "-C");
    scene.restart_with(settings());
}

#[test]
#[ignore = "needs a kernel with IPVS"]
fn cleanup_leaves_what_is_others() {
    let mut scene = scene();
    ipvs::cleanup(&place(&scene.node), false).unwrap();
    run(&scene.node, "ipvsadm", "-A -t 203.0.113.5:80 -s rr");
    run(&scene.node, "ipset", "create mine hash:ip");
    run(&scene.node, "iptables", "-w 5 -t nat -N CNI-HOSTPORT");
    run(&scene.node, "iptables", "-w 5 -t nat -A PREROUTING -p tcp --dport 7 -j CNI-HOSTPORT");
    let state = |scene: &Scene| {
        (held(&scene.node), run(&scene.node, "ipset", "list -n"), chains(&scene.node, "ip6tables-save"))
    };
    let before = state(&scene);
    scene.restart();
    scene.apply(&[web(json!({"clusterIPs": [VIP, "fd00:96::20"]})), slice("web-1", "web", &BOTH)]);
    assert_ne!(state(&scene), before);
    ipvs::cleanup(&place(&scene.node), false).unwrap();
    assert_eq!(state(&scene), before);
    assert!(!run(&scene.node, "ip", "-o link").contains("kube-ipvs0"));
    ipvs::cleanup(&place(&scene.node), false).expect("there is nothing to remove");
    assert!(ask(&scene.client, &format!("{NODE}:31688")).is_err());
    run(&scene.node, "ipvsadm", "-C");
    run(&scene.node, "iptables", "-w 5 -t nat -F PREROUTING");
    run(&scene.node, "iptables", "-w 5 -t nat -X CNI-HOSTPORT");
    scene.restart();
}
