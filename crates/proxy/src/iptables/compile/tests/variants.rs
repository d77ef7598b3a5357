//! What settings and fields change.

use super::*;
use crate::iptables::rules::Change;
use crate::{DetectLocal, NodePortAddresses};

const SVC1: &str = "KUBE-SVC-XPGD46QRK7WJZT7O";
const EXT1: &str = "KUBE-EXT-XPGD46QRK7WJZT7O";

fn with(fields: Value, endpoints: &[(&str, Option<&str>)]) -> Scene {
    Scene::new(&[service("ns1", "svc1", "172.30.0.41", fields), slice("ns1", "svc1", endpoints)])
}

fn one() -> Scene {
    with(json!({}), &[("10.180.0.1", None)])
}

/// The first rule of the chain of `ns1/svc1`: who is masqueraded.
fn masquerades(scene: &Scene) -> Option<String> {
    scene.chain("nat", SVC1).into_iter().find_map(|rule| {
        let (_, behind) = rule.split_once("--dport 80 ")?;
        Some(behind.strip_suffix("-j KUBE-MARK-MASQ")?.trim().to_owned())
    })
}

#[test]
fn pods_are_told_by_what_the_configuration_says() {
    let mut scene = one();
    scene.node.pod_cidrs = vec!["10.180.7.0/24".parse().unwrap()];
    let cases = [
        (DetectLocal::ClusterCidr(vec!["10.0.0.0/8".parse().unwrap()]), Some("! -s 10.0.0.0/8")),
        (DetectLocal::NodeCidr, Some("! -s 10.180.7.0/24")),
        (DetectLocal::BridgeInterface("cbr0".into()), Some("! -i cbr0")),
        (DetectLocal::InterfaceNamePrefix("veth".into()), Some("! -i veth+")),
        (DetectLocal::ClusterCidr(Vec::new()), None),
        (
            DetectLocal::ClusterCidr(vec!["10.1.0.0/16".parse().unwrap(), "10.2.0.0/16".parse().unwrap()]),
            Some("! -s 10.1.0.0/16 -m iprange ! --src-range 10.2.0.0-10.2.255.255"),
        ),
    ];
    for (detect_local, expected) in cases {
        scene.config.detect_local = detect_local;
        assert_eq!(masquerades(&scene).as_deref(), expected);
    }
    scene.config.masquerade_all = true;
    assert_eq!(masquerades(&scene).as_deref(), Some(""), "all of them");
}

#[test]
fn internal_traffic_policy_local_leads_to_local_endpoints_or_drops() {
    let local = json!({"spec": {"internalTrafficPolicy": "Local"}});
    let scene = with(local.clone(), &[("10.180.0.1", Some("test-node")), ("10.180.1.1", Some("other"))]);
    let chain = "KUBE-SVL-XPGD46QRK7WJZT7O";
    assert!(scene.chain("nat", "KUBE-SERVICES")[0].ends_with(chain));
    assert_eq!(scene.chain("nat", chain).len(), 2, "masquerade and one endpoint");
    assert!(scene.chain("nat", SVC1).is_empty(), "nobody uses the endpoints of the cluster");
    let scene = with(local, &[("10.180.1.1", Some("other"))]);
    let refusals = scene.chain("filter", "KUBE-SERVICES");
    assert!(refusals[0].contains("ns1/svc1:p80 has no local endpoints") && refusals[0].ends_with("DROP"));
}

#[test]
fn external_traffic_policy_local_lets_the_cluster_in_before_it_looks_at_local_endpoints() {
    let fields = json!({"spec": {
        "type": "NodePort", "externalTrafficPolicy": "Local",
        "ports": [{"name": "p80", "port": 80, "nodePort": 3001}]
    }});
    let scene = with(fields, &[("10.180.0.1", Some("test-node")), ("10.180.1.1", Some("other"))]);
    let targets: Vec<_> =
        scene.chain("nat", EXT1).iter().map(|rule| rule.rsplit(' ').next().unwrap().to_owned()).collect();
    assert_eq!(targets, [SVC1, "KUBE-MARK-MASQ", SVC1, "KUBE-SVL-XPGD46QRK7WJZT7O"]);
    assert!(scene.chain("filter", "KUBE-EXTERNAL-SERVICES").is_empty());
}

#[test]
fn endpoints_stand_in_the_order_of_their_text() {
    let endpoints = [("10.180.0.9", None), ("10.180.0.10", None), ("10.180.0.100", None)];
    let rules = with(json!({}), &endpoints).chain("nat", SVC1);
    let order: Vec<_> = rules.iter().filter_map(|rule| Some(rule.split_once("-> ")?.1)).collect();
    assert!(order[0].starts_with("10.180.0.100:80\" -m statistic --mode random --probability 0.3333333333 "));
    assert!(order[1].starts_with("10.180.0.10:80\" -m statistic --mode random --probability 0.5000000000 "));
    assert!(order[2].starts_with("10.180.0.9:80\" -j KUBE-SEP-"));
}

#[test]
fn a_source_range_with_the_node_in_it_lets_the_balancers_address_in() {
    let fields = json!({
        "spec": {"type": "LoadBalancer", "loadBalancerSourceRanges": ["192.168.0.0/24", "203.0.113.0/25"]},
        "status": {"loadBalancer": {"ingress": [{"ip": "5.6.7.8"}]}}
    });
    let rules = with(fields, &[("10.180.0.1", None)]).chain("nat", "KUBE-FW-XPGD46QRK7WJZT7O");
    let sources: Vec<_> =
        rules.iter().filter_map(|rule| rule.split_once(" -s ")?.1.split(' ').next()).collect();
    assert_eq!(sources, ["192.168.0.0/24", "203.0.113.0/25", "5.6.7.8"]);
}

#[test]
fn node_ports_are_open_where_they_are_told() {
    let last = |scene: &Scene, family| {
        let tables = compile(&scene.sight(), family, COUNTING).tables();
        let chain = tables.chain("nat", "KUBE-SERVICES").unwrap();
        let jumps = chain.rules.iter().filter(|rule| rule.as_str().contains("must be the last"));
        let words = jumps.map(|rule| rule.as_str().rsplit_once('"').unwrap().1.trim().to_owned());
        words.collect::<Vec<_>>()
    };
    let mut scene = one();
    assert_eq!(last(&scene, Family::V4), ["-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"]);
    assert_eq!(last(&scene, Family::V6), ["-m addrtype --dst-type LOCAL ! -d ::1/128 -j KUBE-NODEPORTS"]);
    scene.config.localhost_node_ports = false;
    assert_eq!(last(&scene, Family::V4), ["-m addrtype --dst-type LOCAL ! -d 127.0.0.0/8 -j KUBE-NODEPORTS"]);
    assert!(scene.chain("filter", "KUBE-FIREWALL").is_empty());

    scene.config.localhost_node_ports = true;
    let ranges = ["192.168.0.0/16", "127.0.0.0/8"].map(|range| range.parse().unwrap());
    scene.config.node_port_addresses = Some(NodePortAddresses::Ranges(ranges.to_vec()));
    assert_eq!(
        last(&scene, Family::V4),
        ["-d 127.0.0.1 -j KUBE-NODEPORTS", "-d 192.168.0.2 -j KUBE-NODEPORTS"]
    );
    scene.config.node_port_addresses = Some(NodePortAddresses::Ranges(ranges[..1].to_vec()));
    assert_eq!(last(&scene, Family::V4), ["-d 192.168.0.2 -j KUBE-NODEPORTS"]);
    assert!(scene.chain("filter", "KUBE-FIREWALL").is_empty(), "localhost is not asked for");
}

#[test]
fn the_mark_is_the_configured_one_everywhere() {
    let mut scene = one();
    scene.config.masquerade_mark = 1 << 20;
    let text = scene.rules().to_string();
    assert!(text.contains("-A KUBE-MARK-MASQ -j MARK --or-mark 0x100000\n"));
    assert!(text.contains("-m mark ! --mark 0x100000/0x100000 -j RETURN\n") && !text.contains("4000/"));
}

#[test]
fn what_the_platform_lacks_is_left_out() {
    let scene = with(
        json!({"spec": {"type": "NodePort", "ports": [{"name": "p80", "port": 80, "nodePort": 3001}]}}),
        &[("10.180.0.1", None)],
    );
    let text = compile(&scene.sight(), Family::V4, Platform::default()).to_string();
    assert!(!text.contains("nfacct") && text.contains("--ctstate INVALID -j DROP\n"));
    assert!(text.contains("-j MASQUERADE --random-fully\n"));
}

#[test]
fn a_large_cluster_goes_without_the_comments_of_endpoints() {
    let slices: Vec<_> = (0..11_u8)
        .map(|number| {
            let addresses: Vec<_> = (0..100).map(|host| format!("10.180.{number}.{host}")).collect();
            let endpoints: Vec<_> = addresses.iter().map(|address| (address.as_str(), None)).collect();
            let mut slice = slice("ns1", "svc1", &endpoints);
            slice["metadata"]["name"] = json!(format!("svc1-{number}"));
            slice
        })
        .collect();
    let mut scene = one();
    let mut rules = scene.rules();
    let changed = scene.apply(&slices);
    let change = rules.update(&scene.sight(), &Touched::Services(&changed));
    assert!(change.everything, "all endpoint rules lose their comments");
    assert!(rules.to_string().contains(&format!("-A {SVC1} -m statistic ")));
    assert_eq!(rules.to_string(), scene.rules().to_string());
    assert!(scene.chain("nat", "KUBE-SERVICES")[0].contains("ns1/svc1:p80 cluster IP"), "others keep theirs");
}

#[test]
fn a_changed_service_writes_its_own_chains_and_no_other() {
    let mut scene = one();
    scene.apply(&[
        service("ns1", "svc2", "172.30.0.42", json!({})),
        slice("ns1", "svc2", &[("10.180.0.2", None)]),
    ]);
    let mut rules = scene.rules();
    let changed = scene.apply(&[slice("ns1", "svc1", &[("10.180.0.7", None)])]);
    let change = rules.update(&scene.sight(), &Touched::Services(&changed));
    let script = rules.script(&change).to_string();
    assert!(!change.everything && !change.front && !change.filter);
    assert!(script.starts_with("*nat\n") && script.contains("10.180.0.7:80"), "{script}");
    assert!(!script.contains("svc2") && script.contains("-X KUBE-SEP-SXIVWICOYRO3J4NJ\n"));

    let changed = scene.apply(&[slice("ns1", "svc1", &[])]);
    let change = rules.update(&scene.sight(), &Touched::Services(&changed));
    let script = rules.script(&change).to_string();
    assert!(change.front && change.filter, "it is refused now");
    assert!(script.contains("ns1/svc1:p80 has no endpoints") && script.contains(&format!("-X {SVC1}\n")));
    assert!(script.contains("ns1/svc2:p80 cluster IP") && !script.contains("10.180.0.2:80"));
    assert!(rules.update(&scene.sight(), &Touched::Services(&Default::default())) == Change::default());
}

#[test]
fn a_service_of_both_families_has_rules_in_both() {
    let mut six = slice("ns1", "svc1", &[("fd00:10::7", None)]);
    six["addressType"] = json!("IPv6");
    let scene = Scene::new(&[
        service(
            "ns1",
            "svc1",
            "172.30.0.41",
            json!({"spec": {"clusterIPs": ["172.30.0.41", "fd00:172::41"]}}),
        ),
        six,
    ]);
    let tables = compile(&scene.sight(), Family::V6, COUNTING).tables();
    let rules: Vec<_> = tables.table("nat").unwrap().chains().iter().flat_map(|chain| &chain.rules).collect();
    assert!(rules.iter().any(|rule| rule.as_str().ends_with("-j DNAT --to-destination [fd00:10::7]:80")));
    assert!(rules.iter().any(|rule| rule.as_str().contains("-d fd00:172::41 --dport 80 ! -s fd00:10::/64")));
    assert!(scene.chain("filter", "KUBE-SERVICES")[0].contains("has no endpoints"), "none in IPv4");
}

#[test]
fn what_no_api_server_lets_in_spoils_nothing_else() {
    let affine = json!({"spec": {
        "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 99_999_999_999_u64}}
    }});
    let mut scene = with(affine, &[("10.180.0.1", None)]);
    let long = "n".repeat(300);
    for name in ["quo\"te", "new\nline", "two words", long.as_str()] {
        scene.apply(&[
            service("ns1", name, "172.30.0.50", json!({})),
            slice("ns1", name, &[("10.180.0.2", None)]),
        ]);
    }
    let text = scene.rules().to_string();
    assert!(text.contains("--rcheck --seconds 86400 ") && !text.contains("10.180.0.2"));
    let known = ["*", ":", "-A ", "COMMIT"];
    assert!(text.lines().all(|line| known.iter().any(|start| line.starts_with(start))), "{text}");
}
