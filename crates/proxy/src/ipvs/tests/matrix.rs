//! Who reaches what through which address, and whom the endpoint sees: kube-proxy's matrix, as IPVS can do it.

use std::net::SocketAddr;

use service::objects::Protocol;

use super::*;
use crate::config::DetectLocal;
use crate::explain::{Verdict, outcome};
use crate::packet::{Packet, Tracer};

const POD: &str = "10.180.0.9";
const NODE: &str = "192.168.0.2";
const OUTSIDE: &str = "203.0.113.7";
const CLUSTER_IP: &str = "172.30.0.41:80";
const NODE_PORT: &str = "192.168.0.2:3001";
const LOAD_BALANCER: &str = "1.2.3.4:80";
const EXTERNAL_IP: &str = "192.168.99.22:80";

/// Which endpoints (`here`, `there`), and `masq` if they see the node in place of the client.
fn reached(scene: &Scene, from: &str, to: &str) -> String {
    let walker = Walker::new(&rules(scene).state(), &scene.node);
    let destination: SocketAddr = to.parse().unwrap();
    let packet =
        Packet { source: from.parse().unwrap(), destination, protocol: Protocol::Tcp, interface: None };
    let branches = walker.trace(&packet).unwrap();
    let sum: f64 = branches.iter().map(|branch| branch.probability).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{from} -> {to}: {sum}");
    match outcome(&branches) {
        (Verdict::Dnat, shares) => {
            let places = shares.iter().map(|share| {
                let place = if share.address.to_string() == "10.180.0.1:80" { "here" } else { "there" };
                if share.masquerade { format!("{place} masq") } else { place.to_owned() }
            });
            places.collect::<Vec<_>>().join(", ")
        }
        (verdict, _) => verdict.to_string(),
    }
}

fn check(scene: &Scene, cases: &[(&str, &[&str], &str)]) {
    for (from, fronts, expected) in cases {
        for to in *fronts {
            assert_eq!(reached(scene, from, to), *expected, "{from} -> {to}");
        }
    }
}

const OUTER: &[&str] = &[NODE_PORT, LOAD_BALANCER, EXTERNAL_IP];

#[test]
fn with_policy_cluster_all_reach_both_and_only_pods_at_the_cluster_ip_are_seen() {
    let scene = scene(&[balanced(json!({})), both()]);
    check(
        &scene,
        &[
            (POD, &[CLUSTER_IP], "here, there"),
            (NODE, &[CLUSTER_IP], "here masq, there masq"),
            (OUTSIDE, &[CLUSTER_IP], "here masq, there masq"),
            (POD, OUTER, "here masq, there masq"),
            (NODE, OUTER, "here masq, there masq"),
            (OUTSIDE, OUTER, "here masq, there masq"),
        ],
    );
}

#[test]
fn with_external_policy_local_all_reach_this_node_alone_and_are_seen() {
    let scene = scene(&[balanced(json!({"externalTrafficPolicy": "Local"})), both()]);
    check(
        &scene,
        &[
            (POD, &[CLUSTER_IP], "here, there"),
            (OUTSIDE, &[CLUSTER_IP], "here masq, there masq"),
            (POD, OUTER, "here"),
            (NODE, OUTER, "here"),
            (OUTSIDE, OUTER, "here"),
        ],
    );
}

#[test]
fn with_internal_policy_local_the_cluster_ip_reaches_this_node_alone() {
    let scene = scene(&[balanced(json!({"internalTrafficPolicy": "Local"})), both()]);
    check(
        &scene,
        &[
            (POD, &[CLUSTER_IP], "here"),
            (NODE, &[CLUSTER_IP], "here masq"),
            (OUTSIDE, &[CLUSTER_IP], "here masq"),
            (POD, OUTER, "here masq, there masq"),
        ],
    );
}

#[test]
fn masquerade_all_hides_pods_and_without_knowing_pods_nobody_but_the_node_is_hidden() {
    let mut all = scene(&[balanced(json!({})), both()]);
    all.config.masquerade_all = true;
    check(&all, &[(POD, &[CLUSTER_IP], "here masq, there masq")]);
    let mut unknown = scene(&[balanced(json!({})), both()]);
    unknown.config.detect_local = DetectLocal::ClusterCidr(Vec::new());
    check(
        &unknown,
        &[
            (POD, &[CLUSTER_IP], "here, there"),
            (OUTSIDE, &[CLUSTER_IP], "here, there"),
            (NODE, &[CLUSTER_IP], "here masq, there masq"),
        ],
    );
}

#[test]
fn a_pod_that_meets_itself_is_hidden() {
    let scene = scene(&[balanced(json!({})), both()]);
    check(&scene, &[("10.180.0.1", &[CLUSTER_IP], "here masq, there")]);
}

#[test]
fn without_endpoints_and_at_other_ports_of_a_service_connections_are_refused() {
    let scene = scene(&[balanced(json!({})), slice("ns1", "web", &[])]);
    let fronts = [CLUSTER_IP, NODE_PORT, LOAD_BALANCER, "172.30.0.41:81", "1.2.3.4:22"];
    check(&scene, &[(POD, &fronts, "reject"), (NODE, &fronts, "reject"), (OUTSIDE, &fronts, "reject")]);
    check(&scene, &[(OUTSIDE, &["192.168.0.2:22"], "pass")]);
}

#[test]
fn source_ranges_keep_out_all_but_those_in_them() {
    let scene = scene(&[balanced(json!({"loadBalancerSourceRanges": ["203.0.113.0/25"]})), both()]);
    check(
        &scene,
        &[
            (OUTSIDE, &[LOAD_BALANCER], "here masq, there masq"),
            ("203.0.113.200", &[LOAD_BALANCER], "drop"),
            (POD, &[LOAD_BALANCER], "drop"),
            (NODE, &[LOAD_BALANCER], "drop"),
            ("203.0.113.200", &[NODE_PORT, EXTERNAL_IP], "here masq, there masq"),
        ],
    );
}
