//! Packets walked through rules of every sort.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use service::Family;
use service::objects::Protocol;

use super::*;
use crate::iptables::compile;
use crate::iptables::scene::{COUNTING, Scene, service, slice};

const POD: &str = "10.0.0.2";
const NODE: &str = "192.168.0.2";
const OUTSIDE: &str = "203.0.113.2";
const VIP: &str = "172.30.0.41:80";
const BALANCER: &str = "5.6.7.8:80";
const NODE_PORT: &str = "192.168.0.2:3001";

fn packet(source: &str, destination: &str) -> Packet {
    Packet {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        protocol: Protocol::Tcp,
        interface: None,
    }
}

/// Where packets go: endpoints with `masq` where they are masqueraded, or what else becomes of them.
fn fates(walker: &Walker, source: &str, destination: &str) -> String {
    let branches = walker.trace(&packet(source, destination)).unwrap();
    let sum: f64 = branches.iter().map(|branch| branch.probability).sum();
    assert!((sum - 1.0).abs() < 1e-12, "{source} -> {destination}: {sum}");
    let words = branches.iter().map(|branch| match branch.fate {
        Fate::Endpoint { address, masquerade: true } => format!("{address} masq"),
        Fate::Endpoint { address, .. } => address.to_string(),
        other => format!("{other:?}").to_lowercase(),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn scene(spec: Value, endpoints: &[(&str, Option<&str>)]) -> Scene {
    let mut fields = json!({
        "spec": {"type": "LoadBalancer", "ports": [{"name": "p80", "port": 80, "nodePort": 3001}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "5.6.7.8"}]}}
    });
    for (field, value) in spec.as_object().unwrap() {
        fields["spec"][field] = value.clone();
    }
    Scene::new(&[service("ns1", "svc1", "172.30.0.41", fields), slice("ns1", "svc1", endpoints)])
}

fn walker(scene: &Scene) -> Walker {
    Walker::new(&scene.tables(), &scene.node)
}

const BOTH: [(&str, Option<&str>); 2] = [("10.180.0.1", Some("test-node")), ("10.180.1.1", Some("other"))];

/// Who is sent where with which policy: (source, destination, Cluster, external Local, internal Local).
const MATRIX: [(&str, &str, [&str; 3]); 8] = [
    (POD, VIP, ["both", "both", "local"]),
    (POD, NODE_PORT, ["both masq", "both", "both masq"]),
    (POD, BALANCER, ["both masq", "both", "both masq"]),
    (NODE, VIP, ["both masq", "both masq", "local masq"]),
    (NODE, NODE_PORT, ["both masq", "both masq", "both masq"]),
    (OUTSIDE, VIP, ["both masq", "both masq", "local masq"]),
    (OUTSIDE, NODE_PORT, ["both masq", "local", "both masq"]),
    (OUTSIDE, BALANCER, ["both masq", "local", "both masq"]),
];

#[test]
fn who_is_sent_where_and_masqueraded_follows_the_policies() {
    let policies =
        [json!({}), json!({"externalTrafficPolicy": "Local"}), json!({"internalTrafficPolicy": "Local"})];
    for (column, policy) in policies.into_iter().enumerate() {
        let walker = walker(&scene(policy, &BOTH));
        for (source, destination, expected) in MATRIX {
            let expected = match expected[column] {
                "both" => "10.180.0.1:80, 10.180.1.1:80",
                "both masq" => "10.180.0.1:80 masq, 10.180.1.1:80 masq",
                "local" => "10.180.0.1:80",
                _ => "10.180.0.1:80 masq",
            };
            assert_eq!(fates(&walker, source, destination), expected, "{source} -> {destination} ({column})");
        }
    }
}

#[test]
fn without_endpoints_packets_are_refused_and_without_local_ones_dropped() {
    let none = walker(&scene(json!({}), &[]));
    for (source, destination) in [(POD, VIP), (NODE, VIP), (OUTSIDE, BALANCER), (OUTSIDE, NODE_PORT)] {
        assert_eq!(fates(&none, source, destination), "reject", "{source} -> {destination}");
    }
    let remote = walker(&scene(json!({"externalTrafficPolicy": "Local"}), &BOTH[1..]));
    assert_eq!(fates(&remote, OUTSIDE, NODE_PORT), "drop");
    assert_eq!(fates(&remote, OUTSIDE, BALANCER), "drop");
    assert_eq!(fates(&remote, POD, BALANCER), "10.180.1.1:80");
    let internal = walker(&scene(json!({"internalTrafficPolicy": "Local"}), &BOTH[1..]));
    assert_eq!(fates(&internal, POD, VIP), "drop");
}

#[test]
fn source_ranges_hold_for_the_balancers_address_alone() {
    let ranges = json!({"loadBalancerSourceRanges": ["203.0.113.0/25"]});
    let walker = walker(&scene(ranges, &BOTH[..1]));
    assert_eq!(fates(&walker, OUTSIDE, BALANCER), "10.180.0.1:80 masq");
    assert_eq!(fates(&walker, "198.51.100.1", BALANCER), "drop");
    assert_eq!(fates(&walker, POD, BALANCER), "drop");
    assert_eq!(fates(&walker, "198.51.100.1", NODE_PORT), "10.180.0.1:80 masq");
}

#[test]
fn an_endpoint_that_meets_itself_is_masqueraded() {
    let walker = walker(&scene(json!({}), &BOTH));
    assert_eq!(fates(&walker, "10.180.0.1", VIP), "10.180.0.1:80 masq, 10.180.1.1:80");
}

#[test]
fn localhost_reaches_node_ports_and_nobody_reaches_localhost() {
    let mut scene = scene(json!({}), &BOTH[..1]);
    assert_eq!(fates(&walker(&scene), "127.0.0.1", "127.0.0.1:3001"), "10.180.0.1:80 masq");
    scene.config.localhost_node_ports = false;
    assert_eq!(fates(&walker(&scene), "127.0.0.1", "127.0.0.1:3001"), "pass");
}

#[test]
fn what_no_rule_concerns_passes() {
    let walker = walker(&scene(json!({}), &BOTH));
    for destination in ["172.30.0.41:81", "172.30.0.99:80", "192.168.0.2:22", "198.51.100.7:3001"] {
        assert_eq!(fates(&walker, POD, destination), "pass", "{destination}");
    }
    let udp = Packet { protocol: Protocol::Udp, ..packet(POD, VIP) };
    assert_eq!(walker.trace(&udp).unwrap()[0].fate, Fate::Pass);
}

#[test]
fn endpoints_are_equally_likely_although_rules_round() {
    let addresses: Vec<_> = (1..=200).map(|host| format!("10.180.0.{host}")).collect();
    let endpoints: Vec<_> = addresses.iter().map(|address| (address.as_str(), None)).collect();
    for affinity in ["None", "ClientIP"] {
        let walker = walker(&scene(json!({"sessionAffinity": affinity}), &endpoints));
        let branches = walker.trace(&packet(POD, VIP)).unwrap();
        assert_eq!(branches.len(), 200);
        assert!(branches.iter().all(|branch| (branch.probability - 0.005).abs() < 1e-12));
    }
}

#[test]
fn each_step_names_the_rule_and_says_what_it_did() {
    let walker = walker(&scene(json!({}), &BOTH[..1]));
    let branches = walker.trace(&packet(OUTSIDE, NODE_PORT)).unwrap();
    let steps = branches[0].steps.join("\n");
    for part in [
        "nat PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES: it goes on in",
        "nat KUBE-EXT-XPGD46QRK7WJZT7O -m comment --comment \"masquerade traffic for ns1/svc1:p80",
        "nat KUBE-MARK-MASQ -j MARK --or-mark 0x004000: its mark is 0x4000 now",
        "--to-destination 10.180.0.1:80: it goes to 10.180.0.1:80",
        "-j MASQUERADE: it gets the node's address as its source",
    ] {
        assert!(steps.contains(part), "{part} in\n{steps}");
    }
}

#[test]
fn a_rule_that_is_not_understood_matters_to_packets_that_meet_it() {
    let scene = scene(json!({}), &BOTH[..1]);
    let mut tables = scene.tables();
    let rule = crate::xtables::text::Rule::new("-d 198.51.100.9/32 -m owner --uid-owner 7 -j ACCEPT");
    tables.table_mut("nat").chain_mut("PREROUTING").rules.push(rule);
    let walker = Walker::new(&tables, &scene.node);
    assert_eq!(fates(&walker, OUTSIDE, VIP), "10.180.0.1:80 masq");
    let error = walker.trace(&packet(OUTSIDE, "198.51.100.9:1")).unwrap_err();
    assert!(error.rule.contains("--uid-owner 7") && error.why == "--uid-owner 7 is not understood");
}

#[test]
fn an_interface_must_be_known_where_a_rule_asks_for_it() {
    let mut scene = scene(json!({}), &BOTH[..1]);
    scene.config.detect_local = crate::DetectLocal::InterfaceNamePrefix("veth".into());
    let walker = walker(&scene);
    assert!(walker.trace(&packet(POD, VIP)).is_err());
    let by = |interface: &str| Packet { interface: Some(interface.into()), ..packet(POD, VIP) };
    let masquerade = |packet: &Packet| match walker.trace(packet).unwrap()[0].fate {
        Fate::Endpoint { masquerade, .. } => masquerade,
        other => panic!("{other:?}"),
    };
    assert!(!masquerade(&by("veth1234")) && masquerade(&by("eth0")));
}

#[test]
fn sets_and_redirections_are_followed() {
    let scene = scene(json!({}), &[]);
    let text = "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n\
        -A PREROUTING -m set --match-set BLOCKED src -j RETURN\n\
        -A PREROUTING -p tcp -m set --match-set FRONTS dst,dst -j REDIRECT --to-ports 40000\n\
        -A OUTPUT -p tcp -m set --match-set FRONTS dst,dst -j REDIRECT --to-ports 40000\nCOMMIT\n";
    let walker = Walker::new(&Tables::parse(text).unwrap(), &scene.node);
    assert!(walker.trace(&packet(POD, VIP)).is_err(), "nobody knows the sets");
    let walker = walker.with_sets(Arc::new(|lookup| {
        Some(match lookup.directions {
            [Direction::Source] => lookup.source == "10.0.0.9".parse::<IpAddr>().unwrap(),
            _ => lookup.set == "FRONTS" && lookup.destination == VIP.parse().unwrap(),
        })
    }));
    assert_eq!(fates(&walker, POD, VIP), "192.168.0.2:40000");
    assert_eq!(fates(&walker, NODE, VIP), "127.0.0.1:40000");
    assert_eq!(fates(&walker, "10.0.0.9", VIP), "pass");
}

#[test]
fn ten_thousand_services_are_asked_quickly() {
    let mut objects = Vec::new();
    for number in 0..10_000_u32 {
        let ip = std::net::Ipv4Addr::from(0xac1f_0000 + number).to_string();
        let name = format!("svc{number}");
        objects.push(service("ns", &name, &ip, json!({})));
        objects.push(slice("ns", &name, &[("10.180.0.1", None), ("10.180.0.2", None)]));
    }
    let scene = Scene::new(&objects);
    let walker = Walker::new(&compile(&scene.sight(), Family::V4, COUNTING).tables(), &scene.node);
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    let start = std::time::Instant::now();
    for number in (0..10_000_u32).step_by(10) {
        let ip = std::net::Ipv4Addr::from(0xac1f_0000 + number);
        *answers.entry(fates(&walker, POD, &format!("{ip}:80"))).or_default() += 1;
    }
    assert_eq!(answers.into_iter().collect::<Vec<_>>(), [("10.180.0.1:80, 10.180.0.2:80".to_owned(), 1000)]);
    assert!(start.elapsed().as_millis() < 2000, "a thousand answers took {:?}", start.elapsed());
}
