//! What Services become, and what becomes of packets.

mod matrix;
mod model;

use serde_json::{Value, json};
use service::Family;

use super::*;
use crate::iptables::scene::{COUNTING, Scene, service, slice};
use crate::{Config, ModeName};

fn scene(objects: &[Value]) -> Scene {
    let mut scene = Scene::new(objects);
    scene.config = Config { mode: ModeName::Ipvs, ..scene.config };
    scene
}

fn rules(scene: &Scene) -> Rules {
    compile(&scene.sight(), Family::V4, COUNTING)
}

/// The lines of what is printed that have this in them.
fn lines(rules: &Rules, part: &str) -> Vec<String> {
    rules.to_string().lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
}

fn web(fields: Value) -> Value {
    service("ns1", "web", "172.30.0.41", fields)
}

fn both() -> Value {
    slice("ns1", "web", &[("10.180.0.1", Some("test-node")), ("10.180.1.1", Some("elsewhere"))])
}

fn balanced(spec: Value) -> Value {
    let mut fields = json!({
        "spec": {
            "type": "LoadBalancer", "ports": [{"name": "p80", "port": 80, "nodePort": 3001}],
            "externalIPs": ["192.168.99.22"]
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}
    });
    spec.as_object().unwrap().iter().for_each(|(field, value)| fields["spec"][field] = value.clone());
    web(fields)
}

#[test]
fn a_cluster_ip_is_a_virtual_server_an_address_and_an_entry() {
    let rules = rules(&scene(&[web(json!({})), both()]));
    assert_eq!(
        lines(&rules, "172.30.0.41"),
        [
            "-A -t 172.30.0.41:80 -s rr",
            "-a -t 172.30.0.41:80 -r 10.180.0.1:80 -m -w 1",
            "-a -t 172.30.0.41:80 -r 10.180.1.1:80 -m -w 1",
            "add KUBE-CLUSTER-IP 172.30.0.41,tcp:80",
            "add KUBE-IPVS-IPS 172.30.0.41",
        ]
    );
    assert_eq!(lines(&rules, "add KUBE-LOOP-BACK"), ["add KUBE-LOOP-BACK 10.180.0.1,tcp:80,10.180.0.1"]);
    assert_eq!(rules.addresses().collect::<Vec<_>>(), ["172.30.0.41".parse::<std::net::IpAddr>().unwrap()]);
}

#[test]
fn every_outer_address_and_node_address_has_a_virtual_server() {
    let rules = rules(&scene(&[balanced(json!({})), both()]));
    assert_eq!(
        lines(&rules, "-A -t"),
        [
            "-A -t 1.2.3.4:80 -s rr",
            "-A -t 172.30.0.41:80 -s rr",
            "-A -t 192.168.0.2:3001 -s rr",
            "-A -t 192.168.99.22:80 -s rr",
        ]
    );
    assert_eq!(
        lines(&rules, "add KUBE-"),
        [
            "add KUBE-LOOP-BACK 10.180.0.1,tcp:80,10.180.0.1",
            "add KUBE-CLUSTER-IP 172.30.0.41,tcp:80",
            "add KUBE-EXTERNAL-IP 192.168.99.22,tcp:80",
            "add KUBE-LOAD-BALANCER 1.2.3.4,tcp:80",
            "add KUBE-NODE-PORT-TCP 3001",
            "add KUBE-IPVS-IPS 1.2.3.4",
            "add KUBE-IPVS-IPS 172.30.0.41",
            "add KUBE-IPVS-IPS 192.168.99.22",
        ]
    );
}

#[test]
fn an_address_that_the_node_has_is_not_put_on_our_interface() {
    let rules = rules(&scene(&[web(json!({"spec": {"externalIPs": ["192.168.0.2"]}})), both()]));
    assert_eq!(lines(&rules, "add KUBE-IPVS-IPS"), ["add KUBE-IPVS-IPS 172.30.0.41"]);
    assert_eq!(lines(&rules, "-A -t 192.168.0.2").len(), 1);
}

#[test]
fn policy_local_means_the_endpoints_of_this_node_for_all_and_those_of_the_cluster_if_there_is_none() {
    let local = balanced(json!({"externalTrafficPolicy": "Local", "healthCheckNodePort": 30000}));
    let here = rules(&scene(&[local.clone(), both()]));
    assert_eq!(lines(&here, "-a -t 1.2.3.4").len(), 1);
    assert_eq!(lines(&here, "-a -t 192.168.0.2").len(), 1);
    assert_eq!(lines(&here, "-a -t 172.30.0.41").len(), 2);
    for entry in [
        "add KUBE-EXTERNAL-IP-LOCAL 192.168.99.22,tcp:80",
        "add KUBE-LOAD-BALANCER-LOCAL 1.2.3.4,tcp:80",
        "add KUBE-NODE-PORT-LOCAL-TCP 3001",
        "add KUBE-HEALTH-CHECK-NODE-PORT 30000",
    ] {
        assert_eq!(lines(&here, entry).len(), 1, "{entry}");
    }
    let elsewhere = slice("ns1", "web", &[("10.180.1.1", Some("elsewhere"))]);
    let none = rules(&scene(&[local, elsewhere.clone()]));
    assert_eq!(lines(&none, "-a -t 1.2.3.4").len(), 1);
    let internal = rules(&scene(&[web(json!({"spec": {"internalTrafficPolicy": "Local"}})), elsewhere]));
    assert_eq!(lines(&internal, "-a -t"), [""; 0], "nobody needs endpoints of the cluster");
}

#[test]
fn affinity_is_persistence_and_schedulers_are_chosen_by_service() {
    let affine = json!({
        "metadata": {"annotations": {"portolan.dev/scheduler": "mh"}},
        "spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 30}}}
    });
    let mut scene = scene(&[web(affine), both()]);
    assert_eq!(lines(&rules(&scene), "-A -t"), ["-A -t 172.30.0.41:80 -s mh -p 30 -b mh-port"]);
    scene.apply(&[web(json!({"metadata": {"annotations": {"portolan.dev/scheduler": "no"}}}))]);
    scene.config.ipvs.scheduler = "wlc".into();
    assert_eq!(lines(&rules(&scene), "-A -t"), ["-A -t 172.30.0.41:80 -s wlc"]);
}

#[test]
fn weights_of_endpoints_are_weights_of_real_servers() {
    let mut slice = both();
    slice["metadata"]["annotations"] = json!({"portolan.dev/weights": "10.180.0.1=3,10.180.1.1=0"});
    let rules = rules(&scene(&[web(json!({})), slice]));
    let weights: Vec<_> =
        lines(&rules, "-a -t").iter().map(|line| line[line.len() - 1..].to_owned()).collect();
    assert_eq!(weights, ["3", "0"]);
}

#[test]
fn source_ranges_are_entries_and_close_the_front_to_the_node_unless_it_is_in_one() {
    let ranges = |range: &str| balanced(json!({"loadBalancerSourceRanges": [range]}));
    let outside = rules(&scene(&[ranges("203.0.113.0/25"), both()]));
    assert_eq!(
        lines(&outside, "add KUBE-LOAD-BALANCER-"),
        [
            "add KUBE-LOAD-BALANCER-FW 1.2.3.4,tcp:80",
            "add KUBE-LOAD-BALANCER-SOURCE-CIDR 1.2.3.4,tcp:80,203.0.113.0/25",
        ]
    );
    assert_eq!(
        lines(&outside, "-A KUBE-IPVS-OUT-FILTER"),
        ["-A KUBE-IPVS-OUT-FILTER -s 1.2.3.4 -m ipvs --vaddr 1.2.3.4 --vproto tcp --vport 80 -j DROP",]
    );
    let inside = rules(&scene(&[ranges("192.168.0.0/24"), both()]));
    assert_eq!(lines(&inside, "SOURCE-IP 1"), ["add KUBE-LOAD-BALANCER-SOURCE-IP 1.2.3.4,tcp:80,1.2.3.4"]);
    assert_eq!(lines(&inside, "--vaddr"), [""; 0]);
}

#[test]
fn rules_ask_about_the_sets_that_have_entries_in_kube_proxys_order() {
    let rules = rules(&scene(&[balanced(json!({"externalTrafficPolicy": "Local"})), both()]));
    let services = lines(&rules, "-A KUBE-SERVICES");
    let short: Vec<_> = services
        .iter()
        .map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            let set =
                words.iter().position(|word| *word == "--match-set").map_or("", |place| words[place + 1]);
            format!("{set} {}", words[words.len() - 1])
        })
        .collect();
    assert_eq!(
        short,
        [
            " RETURN",
            "KUBE-LOAD-BALANCER KUBE-LOAD-BALANCER",
            "KUBE-CLUSTER-IP KUBE-MARK-MASQ",
            "KUBE-EXTERNAL-IP-LOCAL ACCEPT",
            "KUBE-EXTERNAL-IP-LOCAL ACCEPT",
            " KUBE-NODE-PORT",
            "KUBE-CLUSTER-IP ACCEPT",
            "KUBE-LOAD-BALANCER ACCEPT",
        ]
    );
    assert_eq!(
        lines(&rules, "-A KUBE-SERVICES -m comment --comment \"Kubernetes service cluster ip"),
        [
            "-A KUBE-SERVICES -m comment --comment \"Kubernetes service cluster ip + port for masquerade purpose\" \
          -m set --match-set KUBE-CLUSTER-IP dst,dst ! -s 10.0.0.0/8 -j KUBE-MARK-MASQ"
        ]
    );
    assert_eq!(
        lines(&rules, "-A KUBE-NODE-PORT -p tcp")
            .iter()
            .map(|line| line.rsplit_once(' ').unwrap().1)
            .collect::<Vec<_>>(),
        ["RETURN", "KUBE-MARK-MASQ"]
    );
}

#[test]
fn changes_add_up_to_a_fresh_compilation() {
    let mut scene = scene(&[balanced(json!({})), both()]);
    let mut kept = rules(&scene);
    let other = service("ns0", "other", "172.30.0.42", json!({"spec": {"externalIPs": ["192.168.99.22"]}}));
    for objects in [
        vec![other, slice("ns0", "other", &[("10.180.0.9", None)])],
        vec![balanced(json!({"externalTrafficPolicy": "Local"}))],
        vec![slice("ns1", "web", &[])],
        vec![service("ns0", "other", "None", json!({}))],
        vec![both()],
    ] {
        let changed = scene.apply(&objects);
        kept.update(&scene.sight(), &Touched::Services(&changed));
        assert_eq!(kept.to_string(), rules(&scene).to_string());
    }
}

#[test]
fn the_first_service_by_name_has_a_front_that_two_ask_for() {
    let mut scene = scene(&[balanced(json!({})), both()]);
    let mut kept = rules(&scene);
    let front = "-a -t 192.168.99.22:80";
    assert_eq!(lines(&kept, front).len(), 2);
    let other = service("ns0", "other", "172.30.0.42", json!({"spec": {"externalIPs": ["192.168.99.22"]}}));
    let changed = scene.apply(&[other, slice("ns0", "other", &[("10.180.0.9", None)])]);
    let change = kept.update(&scene.sight(), &Touched::Services(&changed));
    assert_eq!(lines(&kept, front), ["-a -t 192.168.99.22:80 -r 10.180.0.9:80 -m -w 1"]);
    assert!(change.fronts.iter().any(|front| front.to_string() == "192.168.99.22:80/tcp"));
    assert!(!change.chains, "the same sets have entries");
}
