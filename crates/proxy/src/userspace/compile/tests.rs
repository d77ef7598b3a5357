//! The redirections of Services.

mod random;

use serde_json::{Value, json};

use super::*;
use crate::explain::{Model, explain};
use crate::iptables::scene::{Scene, service, slice};
use crate::packet::Packet;
use crate::userspace::Scope;
use crate::userspace::{Walker, endpoints};
use crate::{Config, ModeName};

const BOTH: [(&str, Option<&str>); 2] = [("10.180.0.1", Some("test-node")), ("10.180.1.1", Some("other"))];
const POD: &str = "10.0.0.2";
const NODE: &str = "192.168.0.2";
const OUTSIDE: &str = "203.0.113.2";

fn scene(spec: Value, endpoints: &[(&str, Option<&str>)]) -> Scene {
    let mut fields = json!({
        "spec": {
            "type": "LoadBalancer", "ports": [{"name": "p80", "port": 80, "nodePort": 3001}],
            "externalIPs": ["192.0.2.7"]
        },
        "status": {"loadBalancer": {"ingress": [{"ip": "5.6.7.8"}]}}
    });
    for (field, value) in spec.as_object().unwrap() {
        fields["spec"][field] = value.clone();
    }
    let mut scene =
        Scene::new(&[service("ns1", "svc1", "172.30.0.41", fields), slice("ns1", "svc1", endpoints)]);
    scene.config = Config { mode: ModeName::Userspace, ..scene.config };
    scene
}

fn chain(rules: &Rules, table: &str, chain: &str) -> Vec<String> {
    let (_, tables) = &rules.tables[0];
    tables.chain(table, chain).unwrap().rules.iter().map(ToString::to_string).collect()
}

#[test]
fn addresses_lead_to_the_door_of_their_service() {
    let rules = compile(&scene(json!({"externalIPs": []}), &BOTH).sight());
    assert_eq!(rules.proxy_ports.len(), 1);
    let portals = [
        "-m comment --comment ns1/svc1:p80 -m tcp -p tcp -d 172.30.0.41 --dport 80 -j REDIRECT --to-ports 40000",
        "-m comment --comment ns1/svc1:p80 -m tcp -p tcp -d 5.6.7.8 --dport 80 -j REDIRECT --to-ports 40000",
    ];
    for name in ["CONTAINER", "HOST"] {
        let portal = chain(&rules, "nat", &format!("KUBE-PORTALS-{name}"));
        assert_eq!(portal[..2], portals);
        assert!(portal[2].ends_with(&format!("-m addrtype --dst-type LOCAL -j KUBE-NODEPORT-{name}")));
        assert_eq!(
            chain(&rules, "nat", &format!("KUBE-NODEPORT-{name}")),
            ["-m comment --comment ns1/svc1:p80 -m tcp -p tcp --dport 3001 -j REDIRECT --to-ports 40000"]
        );
    }
    assert_eq!(chain(&rules, "filter", "KUBE-PORTALS-REFUSED"), [""; 0]);
    assert_eq!(
        chain(&rules, "filter", "KUBE-NODEPORT-NON-LOCAL"),
        [
            "-m comment --comment \"ns1/svc1:p80 proxy port\" -m tcp -p tcp --dport 40000 -m conntrack ! --ctstate DNAT -j REJECT",
            "-m comment --comment \"ns1/svc1:p80 proxy port\" -m tcp -p tcp --dport 40000 -j ACCEPT",
        ]
    );
}

#[test]
fn each_list_of_endpoints_has_a_door_of_its_own() {
    let rules = compile(&scene(json!({"externalTrafficPolicy": "Local"}), &BOTH).sight());
    let ports: Vec<_> =
        rules.proxy_ports.iter().map(|(proxy_port, target)| (proxy_port.scope, target.port)).collect();
    assert_eq!(ports, [(Scope::Cluster, 40000), (Scope::Local, 40001)]);
    let container = chain(&rules, "nat", "KUBE-NODEPORT-CONTAINER");
    assert!(container[0].ends_with("-s 10.0.0.0/8 -j REDIRECT --to-ports 40000"), "pods get any");
    assert!(container[1].ends_with("--dport 3001 -j REDIRECT --to-ports 40001"), "others local ones");
    assert!(chain(&rules, "nat", "KUBE-NODEPORT-HOST")[0].ends_with("40000"), "and so does the node");
}

#[test]
fn doors_have_the_ports_that_are_held() {
    let scene = scene(json!({"externalTrafficPolicy": "Local"}), &BOTH);
    let mut rules = compile(&scene.sight());
    let ports = [51000, 51001];
    rules.proxy_ports.values_mut().zip(ports).for_each(|(target, port)| target.port = port);
    let held = tables(&scene.sight(), &rules.proxy_ports);
    let like = compile_like(&scene.sight(), &held);
    assert_eq!(like.proxy_ports.values().map(|target| target.port).collect::<Vec<_>>(), ports);
    assert_eq!(like.tables, held);
}

#[test]
fn udp_is_sent_to_the_address_that_answers_leave_from() {
    let udp = json!({"ports": [{"name": "p80", "port": 80, "protocol": "UDP"}]});
    let mut scene = scene(udp, &[]);
    let mut slice = slice("ns1", "svc1", &BOTH);
    slice["ports"][0]["protocol"] = json!("UDP");
    scene.apply(&[slice]);
    let rules = compile(&scene.sight());
    assert!(
        chain(&rules, "nat", "KUBE-PORTALS-HOST")[0].ends_with("-j DNAT --to-destination 192.168.0.2:40000")
    );
}

#[test]
fn sctp_is_refused() {
    let mut scene = scene(json!({"ports": [{"name": "p80", "port": 80, "protocol": "SCTP"}]}), &[]);
    let mut slice = slice("ns1", "svc1", &BOTH);
    slice["ports"][0]["protocol"] = json!("SCTP");
    scene.apply(&[slice]);
    let rules = compile(&scene.sight());
    assert!(rules.proxy_ports.is_empty());
    assert!(
        chain(&rules, "filter", "KUBE-PORTALS-REFUSED")[0]
            .ends_with("-p sctp -d 172.30.0.41 --dport 80 -j REJECT")
    );
}

#[test]
fn packets_go_where_the_model_says() {
    let policies = [
        json!({}),
        json!({"externalTrafficPolicy": "Local"}),
        json!({"internalTrafficPolicy": "Local"}),
        json!({"loadBalancerSourceRanges": ["203.0.113.0/24", "192.168.0.0/24"]}),
        json!({"loadBalancerSourceRanges": ["203.0.112.0/24"], "externalTrafficPolicy": "Local"}),
        json!({"externalTrafficPolicy": "Local", "internalTrafficPolicy": "Local"}),
    ];
    let sources = [POD, NODE, OUTSIDE, "5.6.7.8", "10.180.0.1", "127.0.0.1"];
    let fronts = [
        "172.30.0.41:80",
        "172.30.0.41:81",
        "192.0.2.7:80",
        "5.6.7.8:80",
        "192.168.0.2:3001",
        "127.0.0.1:3001",
    ];
    let mut checked = 0;
    for (policy, list) in
        policies.iter().flat_map(|policy| [&BOTH[..], &BOTH[1..], &[]].map(|list| (policy, list)))
    {
        for masquerade_all in [false, true] {
            let mut scene = scene(policy.clone(), list);
            scene.config.masquerade_all = masquerade_all;
            let sight = scene.sight();
            let (rules, endpoints) = (compile(&sight), endpoints(&sight));
            let (walker, model) = (Walker::new(&rules, &endpoints, &scene.node), Model::new(sight));
            for (source, front) in sources.iter().flat_map(|source| fronts.map(|front| (source, front))) {
                let packet = Packet {
                    source: source.parse().unwrap(),
                    destination: front.parse().unwrap(),
                    protocol: service::objects::Protocol::Tcp,
                    interface: None,
                };
                let found = explain(&walker, &model, &packet).unwrap();
                let fault = found.reasons.iter().find(|reason| reason.contains("fault"));
                assert_eq!(fault, None, "{policy} {list:?}: {source} -> {front}: {found:?}");
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 1296);
}
