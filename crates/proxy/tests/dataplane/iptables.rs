//! iptables mode: the same connections, by rules that `iptables-restore` loads.

use std::fs::File;
use std::io::ErrorKind;
use std::process::Command;

use proxy::iptables::{self, Difference, Iptables};
use proxy::xtables::text::{Normal, Tables};
use proxy::xtables::trace::Walker;
use proxy::xtables::{Place, Platform};
use proxy::{Config, Fate, Mode, ModeName, Packet, Tracer};
use serde_json::{Value, json};
use service::Family;
use service::objects::Protocol;

use crate::namespace::Namespace;
use crate::scene::{CLIENT, NODE, POD1, POD1_V6, POD2, POD2_V6, Scene, config, service, slice, slice_of};
use crate::server::{Asker, Connection, ask, serve};

const VIP: &str = "10.96.0.20";
const FRONT: &str = "10.96.0.20:8080";
const NODE_PORT: &str = "192.0.2.1:31688";
const BOTH: [(&str, &str); 2] = [(POD1, "node"), (POD2, "node")];

pub(crate) fn place(node: &Namespace) -> Place {
    Place::namespace(File::open(format!("/run/netns/{}", node.name)).unwrap())
}

pub(crate) fn mode(node: &Namespace) -> Box<dyn Mode> {
    Box::new(Iptables::new(place(node)))
}

/// A node with old tables in use, as a kubelet shows it.
fn legacy(node: &Namespace) -> Box<dyn Mode> {
    run(node, "iptables-legacy", "-w 5 -t mangle -N KUBE-IPTABLES-HINT");
    mode(node)
}

fn scene_of(make: crate::scene::MakeMode) -> Option<Scene> {
    if Command::new("iptables-nft-restore").arg("--version").output().is_err() {
        println!("skipped: the package iptables is not installed");
        return None;
    }
    Scene::in_mode(make, Config { mode: ModeName::Iptables, ..config() })
}

pub(crate) fn scene() -> Option<Scene> {
    scene_of(mode)
}

/// Runs a program in the namespace; returns what it prints.
fn run(node: &Namespace, program: &str, arguments: &str) -> String {
    let output = node.run(|| Command::new(program).args(arguments.split(' ')).output().unwrap());
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// All rules that the kernel holds of one kind, in order, each in its normal form.
pub(crate) fn held(node: &Namespace, save: &str) -> Vec<(String, String, Vec<Normal>)> {
    let output = node.run(|| Command::new(save).output().unwrap());
    normal(&Tables::parse(&String::from_utf8(output.stdout).unwrap()).unwrap())
}

fn normal(tables: &Tables) -> Vec<(String, String, Vec<Normal>)> {
    let mut chains: Vec<_> = tables
        .iter()
        .flat_map(|table| table.chains().iter().map(move |chain| (table, chain)))
        .filter(|(_, chain)| !chain.name.contains("CANARY") && !chain.name.contains("HINT"))
        .filter(|(_, chain)| chain.policy.is_none() || !chain.rules.is_empty())
        .map(|(table, chain)| {
            let rules = chain.rules.iter().map(|rule| rule.normal().unwrap()).collect();
            (table.name.clone(), chain.name.clone(), rules)
        })
        .collect();
    chains.sort();
    chains
}

fn node_port(spec: Value) -> Value {
    let mut fields = json!({
        "type": "NodePort", "ports": [{"name": "http", "port": 8080, "nodePort": 31688}],
        "externalIPs": ["198.51.100.7"]
    });
    for (field, value) in spec.as_object().unwrap() {
        fields[field] = value.clone();
    }
    service("web", VIP, fields)
}

#[test]
fn a_cluster_ip_and_a_node_port_reach_all_endpoints_from_everywhere_with_both_kinds_of_tables() {
    for make in [mode as crate::scene::MakeMode, legacy] {
        let Some(mut scene) = scene_of(make) else { return };
        scene.apply(&[node_port(json!({})), slice("web-1", "web", &BOTH)]);
        for from in [&scene.pod1, &scene.node, &scene.client] {
            for front in [FRONT, NODE_PORT] {
                let spread = scene.spread(from, front, 40);
                assert!(spread.len() == 2, "{} -> {front}: {spread:?}", from.name);
            }
        }
        assert_eq!(ask(&scene.pod2, FRONT).unwrap().client.to_string().split_at(7).0, "10.244.");
        assert!(ask(&scene.client, NODE_PORT).unwrap().client.to_string().starts_with("10.244."), "hidden");
        assert_eq!(scene.spread(&scene.node, "127.0.0.1:31688", 20).len(), 2, "localhost");
    }
}

#[test]
fn the_kind_of_tables_in_use_is_used() {
    let Some(mut scene) = scene_of(legacy) else { return };
    scene.apply(&[node_port(json!({})), slice("web-1", "web", &BOTH)]);
    assert!(run(&scene.node, "iptables-legacy-save", "-t nat").contains("KUBE-SERVICES"));
    assert!(!run(&scene.node, "nft", "list ruleset").contains("KUBE-SERVICES"));
}

#[test]
fn a_pod_that_meets_itself_is_masqueraded_and_other_pods_are_not() {
    let Some(mut scene) = scene() else { return };
    scene.apply(&[service("web", VIP, json!({})), slice("web-1", "web", &BOTH[..1])]);
    assert_eq!(ask(&scene.pod1, FRONT).unwrap().client.to_string(), "10.244.1.1");
    assert_eq!(ask(&scene.pod2, FRONT).unwrap().client.to_string(), POD2);
    assert_eq!(ask(&scene.client, FRONT).unwrap().client.to_string(), "10.244.1.1", "from elsewhere");
}

#[test]
fn an_endpoint_on_the_node_itself_sees_the_client_as_the_tracer_says() {
    let Some(mut scene) = scene() else { return };
    serve(&scene.node, "node", 6443);
    scene.apply(&[service("api", VIP, json!({})), slice_of("api-1", "api", 6443, "TCP", &[(NODE, "node")])]);
    let tables = scene.with_sight(|sight| iptables::compile(sight, Family::V4, Platform::default()).tables());
    let walker = scene.with_sight(|sight| Walker::new(&tables, sight.node));
    for (from, source) in [(&scene.client, CLIENT), (&scene.pod1, POD1), (&scene.node, NODE)] {
        let packet = Packet {
            source: source.parse().unwrap(),
            destination: FRONT.parse().unwrap(),
            protocol: Protocol::Tcp,
            interface: None,
        };
        let Fate::Endpoint { masquerade, .. } = walker.trace(&packet).unwrap()[0].fate else { panic!() };
        let answer = ask(from, FRONT).unwrap();
        assert_eq!(answer.server, "node");
        assert_eq!(masquerade, source == NODE, "{source}");
        assert!(masquerade || answer.client.to_string() == source, "{source}: {answer:?}");
    }
}

#[test]
fn external_traffic_policy_local_keeps_the_client_and_the_node() {
    let Some(mut scene) = scene() else { return };
    let endpoints = [(POD1, "node"), (POD2, "elsewhere")];
    scene.apply(&[node_port(json!({"externalTrafficPolicy": "Local"})), slice("web-1", "web", &endpoints)]);
    scene.client.ip(&format!("route add 198.51.100.7 via {NODE}"));
    for front in [NODE_PORT, "198.51.100.7:8080"] {
        assert_eq!(scene.spread(&scene.client, front, 20).keys().collect::<Vec<_>>(), ["pod1"]);
        assert_eq!(ask(&scene.client, front).unwrap().client.to_string(), CLIENT);
        assert_eq!(scene.spread(&scene.node, front, 40).len(), 2, "the node's own traffic goes anywhere");
        assert_eq!(scene.spread(&scene.pod1, front, 40).len(), 2, "so does that of pods");
    }
    scene.apply(&[slice("web-1", "web", &endpoints[1..])]);
    assert_eq!(ask(&scene.client, NODE_PORT).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(ask(&scene.pod1, NODE_PORT).unwrap().server, "pod2");
}

#[test]
fn a_client_with_affinity_stays_with_its_endpoint() {
    let Some(mut scene) = scene() else { return };
    scene.apply(&[service("web", VIP, json!({"sessionAffinity": "ClientIP"})), slice("web-1", "web", &BOTH)]);
    for from in [&scene.pod1, &scene.client] {
        assert_eq!(scene.spread(from, FRONT, 30).len(), 1, "{}", from.name);
    }
}

#[test]
fn source_ranges_decide_who_comes_in_at_the_balancers_address() {
    let Some(mut scene) = scene() else { return };
    let mut balanced =
        service("web", VIP, json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["192.0.2.128/25"]}));
    balanced["status"] = json!({"loadBalancer": {"ingress": [{"ip": "198.51.100.9"}]}});
    scene.client.ip(&format!("route add 198.51.100.9 via {NODE}"));
    scene.apply(&[balanced.clone(), slice("web-1", "web", &BOTH)]);
    assert_eq!(ask(&scene.client, "198.51.100.9:8080").unwrap_err().kind(), ErrorKind::TimedOut);
    balanced["spec"]["loadBalancerSourceRanges"] = json!(["192.0.2.0/25"]);
    scene.apply(&[balanced]);
    assert!(ask(&scene.client, "198.51.100.9:8080").is_ok());
}

#[test]
fn without_endpoints_connections_are_refused_at_once() {
    let Some(mut scene) = scene() else { return };
    scene.apply(&[node_port(json!({}))]);
    for from in [&scene.pod1, &scene.node, &scene.client] {
        for front in [FRONT, NODE_PORT] {
            let error = ask(from, front).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{} -> {front}", from.name);
        }
    }
}

#[test]
fn ipv6_works_like_ipv4() {
    let Some(mut scene) = scene() else { return };
    let spec = json!({"clusterIPs": [VIP, "fd00:96::20"]});
    scene.apply(&[service("web", VIP, spec), slice("web-6", "web", &[(POD1_V6, "node"), (POD2_V6, "node")])]);
    for from in [&scene.pod1, &scene.node, &scene.client] {
        assert_eq!(scene.spread(from, "[fd00:96::20]:8080", 40).len(), 2, "{}", from.name);
    }
}

#[test]
fn the_kernel_holds_what_was_compiled_rule_by_rule() {
    for (make, save) in [
        (mode as crate::scene::MakeMode, ["iptables-nft-save", "ip6tables-nft-save"]),
        (legacy, ["iptables-legacy-save", "ip6tables-legacy-save"]),
    ] {
        let Some(mut scene) = scene_of(make) else { return };
        let affine = json!({
            "sessionAffinity": "ClientIP", "externalTrafficPolicy": "Local",
            "clusterIPs": [VIP, "fd00:96::20"]
        });
        let mut balanced = service("lb", "10.96.0.30", json!({"type": "LoadBalancer"}));
        balanced["spec"]["loadBalancerSourceRanges"] = json!(["192.0.2.0/25"]);
        balanced["status"] = json!({"loadBalancer": {"ingress": [{"ip": "198.51.100.9"}]}});
        scene.apply(&[
            node_port(affine),
            slice("web-1", "web", &[(POD1, "node"), (POD2, "node"), ("10.244.3.3", "elsewhere")]),
            slice("web-6", "web", &[(POD1_V6, "node"), (POD2_V6, "node")]),
            balanced,
            slice("lb-1", "lb", &BOTH),
            service("none", "10.96.0.31", json!({})),
        ]);
        let platform = Platform { counts_invalid: true, counts_localhost: true, ..Platform::default() };
        for (family, save) in Family::ALL.into_iter().zip(save) {
            let compiled = scene.with_sight(|sight| iptables::compile(sight, family, platform).tables());
            assert_eq!(held(&scene.node, save), normal(&compiled), "{family}");
            let held = iptables::held(&place(&scene.node), family).unwrap();
            assert_eq!(Difference::new(&held, &compiled).to_string(), "", "{family}");
        }
    }
}

#[test]
fn many_changes_leave_what_one_fresh_load_gives() {
    let Some(mut scene) = scene() else { return };
    scene.apply(&[node_port(json!({})), slice("web-1", "web", &BOTH)]);
    for step in 0..12_u8 {
        let name = format!("svc{}", step % 4);
        let ip = format!("10.96.1.{}", step % 4);
        let endpoints = &BOTH[..usize::from(step % 3)];
        let policy = if step % 2 == 0 { "Local" } else { "Cluster" };
        scene.apply(&[
            service(&name, &ip, json!({"internalTrafficPolicy": policy})),
            slice(&format!("{name}-1"), &name, endpoints),
        ]);
        if step % 5 == 4 {
            scene.delete(&[service(&name, &ip, json!({}))]);
        }
    }
    let by_steps = held(&scene.node, "iptables-nft-save");
    let text = run(&scene.node, "iptables-nft-save", "-t nat");
    assert!(scene.restart().full);
    assert_eq!(held(&scene.node, "iptables-nft-save"), by_steps);
    let services =
        text.lines().filter(|line| line.starts_with(":KUBE-SVC-") || line.starts_with(":KUBE-SVL-"));
    assert!(services.count() <= 5, "no chain is left over");
}

#[test]
fn a_change_that_says_nothing_new_writes_nothing() {
    let Some(mut scene) = scene() else { return };
    scene.apply(&[node_port(json!({})), slice("web-1", "web", &BOTH)]);
    let report = scene.apply(&[slice("web-1", "web", &BOTH)]);
    assert_eq!((report.elements, report.full), (0, false));
    let report = scene.apply(&[slice("web-1", "web", &BOTH[..1])]);
    assert!(!report.full && report.elements > 0 && report.elements < 20, "{report:?}");
}

#[test]
fn rules_that_somebody_flushed_come_back() {
    let Some(mut scene) = scene() else { return };
    scene.apply(&[node_port(json!({})), slice("web-1", "web", &BOTH)]);
    scene.tend();
    for flush in ["-w 5 -t nat -F", "-w 5 -F", "-w 5 -t mangle -X"] {
        run(&scene.node, "iptables-nft", flush);
        scene.tend();
        assert!(ask(&scene.client, NODE_PORT).is_ok(), "after iptables {flush}");
    }
    let whole = held(&scene.node, "iptables-nft-save");
    run(&scene.node, "nft", "flush ruleset");
    scene.tend();
    assert_eq!(held(&scene.node, "iptables-nft-save"), whole);
}

#[test]
fn a_change_that_does_not_fit_what_somebody_left_loads_all() {
    let Some(mut scene) = scene() else { return };
    scene.apply(&[node_port(json!({})), slice("web-1", "web", &BOTH[..1])]);
    run(&scene.node, "nft", "flush ruleset");
    let report = scene.apply(&[slice("web-1", "web", &BOTH[1..])]);
    assert!(report.full, "{report:?}");
    assert_eq!(ask(&scene.client, NODE_PORT).unwrap().server, "pod2");
}

#[test]
fn a_rule_of_somebody_else_that_leads_to_a_chain_of_a_service_holds_up_nothing() {
    let Some(mut scene) = scene() else { return };
    let web = node_port(json!({}));
    scene.apply(&[web.clone(), slice("web-1", "web", &BOTH)]);
    let chain = iptables::chain_name("KUBE-SVC-", "default/web:http", Protocol::Tcp);
    run(&scene.node, "iptables-nft", &format!("-w 5 -t nat -A PREROUTING -p tcp --dport 7 -j {chain}"));
    scene.delete(&[web]);
    scene.apply(&[service("other", VIP, json!({})), slice("other-1", "other", &BOTH)]);
    assert!(ask(&scene.client, FRONT).is_ok());
    assert_eq!(run(&scene.node, "iptables-nft", &format!("-w 5 -t nat -S {chain}")).lines().count(), 1);
}

#[test]
fn established_connections_survive_a_restart_and_a_change() {
    let Some(mut scene) = scene() else { return };
    scene.apply(&[node_port(json!({})), slice("web-1", "web", &BOTH[..1])]);
    let mut connection = Connection::open(&scene.client, NODE_PORT).unwrap();
    assert_eq!(connection.ask().unwrap().server, "pod1");
    scene.restart();
    scene.apply(&[slice("web-1", "web", &BOTH)]);
    assert_eq!(connection.ask().unwrap().server, "pod1");
}

#[test]
fn udp_clients_leave_an_endpoint_that_is_gone() {
    let Some(mut scene) = scene() else { return };
    let port = json!([{"name": "http", "port": 53, "protocol": "UDP"}]);
    scene.apply(&[
        service("dns", VIP, json!({"ports": port})),
        slice_of("dns-1", "dns", 80, "UDP", &BOTH[..1]),
    ]);
    let asker = Asker::new(&scene.client, &format!("{VIP}:53"));
    assert_eq!(asker.ask().unwrap().server, "pod1");
    let report = scene.apply(&[slice_of("dns-1", "dns", 80, "UDP", &BOTH[1..])]);
    assert_eq!(report.flows, 1);
    assert_eq!(asker.ask().unwrap().server, "pod2");
}

#[test]
fn cleanup_leaves_rules_of_others() {
    for make in [mode as crate::scene::MakeMode, legacy] {
        let Some(mut scene) = scene_of(make) else { return };
        for program in ["iptables-nft", "iptables-legacy"] {
            run(&scene.node, program, "-w 5 -t nat -N CNI-HOSTPORT");
            run(&scene.node, program, "-w 5 -t nat -A PREROUTING -p tcp --dport 7 -j CNI-HOSTPORT");
            run(&scene.node, program, "-w 5 -A FORWARD -s 10.9.0.0/16 -j DROP");
        }
        let saves =
            ["iptables-nft-save", "iptables-legacy-save", "ip6tables-nft-save", "ip6tables-legacy-save"];
        let before: Vec<_> = saves.iter().map(|save| held(&scene.node, save)).collect();
        scene.apply(&[node_port(json!({})), slice("web-1", "web", &BOTH)]);
        assert_ne!(saves.iter().map(|save| held(&scene.node, save)).collect::<Vec<_>>(), before);
        iptables::cleanup(&place(&scene.node)).unwrap();
        assert_eq!(saves.iter().map(|save| held(&scene.node, save)).collect::<Vec<_>>(), before);
        iptables::cleanup(&place(&scene.node)).unwrap();
    }
}

#[test]
fn one_change_among_ten_thousand_services_is_written_alone() {
    let Some(mut scene) = scene_of(legacy) else { return };
    let objects: Vec<_> = (0..10_000_u16)
        .flat_map(|number| {
            let [high, low] = number.to_be_bytes();
            let name = format!("svc{number}");
            let endpoints = [1, 2, 3].map(|pod| format!("10.245.{high}.{}", low.wrapping_add(pod)));
            let endpoints = endpoints.each_ref().map(|address| (address.as_str(), "elsewhere"));
            let slice = slice(&format!("{name}-1"), &name, &endpoints);
            [service(&name, &format!("10.97.{high}.{low}"), json!({})), slice]
        })
        .collect();
    println!("10,000 Services with 3 endpoints each: {}", scene.timed(&objects));
    scene.apply(&[service("web", VIP, json!({})), slice("web-1", "web", &BOTH[..1])]);
    assert_eq!(ask(&scene.client, FRONT).unwrap().server, "pod1");
    println!("one endpoint changes: {}", scene.timed(&[slice("web-1", "web", &BOTH[1..])]));
    assert_eq!(ask(&scene.client, FRONT).unwrap().server, "pod2");
    let start = std::time::Instant::now();
    scene.tend();
    println!("a look at whether all is there: {:?}", start.elapsed());
    let report = scene.apply(&[slice("web-1", "web", &BOTH)]);
    assert!(!report.full && report.elements < 20, "{report:?}");
}
