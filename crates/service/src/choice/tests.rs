//! Table tests of the rules, named after them.

use super::*;
use crate::objects::{Hints, Service};

const HERE: &str = "node1";

/// Endpoints in short: address suffix, node, conditions (`r`eady, `s`erving, `t`erminating), hints.
fn endpoint(text: &str) -> Endpoint {
    let mut words = text.split(' ');
    let (suffix, node, conditions) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let mut hints = Hints::default();
    for word in words {
        match word.split_once('=').unwrap() {
            ("node", name) => hints.nodes.push(name.into()),
            ("zone", name) => hints.zones.push(name.into()),
            other => panic!("{other:?}"),
        }
    }
    Endpoint {
        address: format!("10.244.0.{suffix}:80").parse().unwrap(),
        ready: conditions.contains('r'),
        serving: conditions.contains(['r', 's']),
        terminating: conditions.contains('t'),
        node: Some(node.into()),
        hints: (hints != Hints::default()).then(|| Box::new(hints)),
        weight: 1,
    }
}

fn service(internal_local: bool, external_local: bool) -> Service {
    let policy = |local| if local { "Local" } else { "Cluster" };
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": "s", "namespace": "d"},
        "spec": {"clusterIP": "10.96.0.9", "internalTrafficPolicy": policy(internal_local),
            "externalTrafficPolicy": policy(external_local), "type": "NodePort"}
    }))
    .unwrap()
}

fn choose(endpoints: &[&str], internal_local: bool, external_local: bool) -> Choice {
    let viewpoint = Viewpoint { node: HERE.into(), zone: Some("a".into()) };
    let endpoints = endpoints.iter().map(|text| endpoint(text)).collect();
    Choice::new(&service(internal_local, external_local), endpoints, &viewpoint)
}

fn suffixes(list: &List) -> Vec<u8> {
    list.endpoints
        .iter()
        .map(|endpoint| match endpoint.address.ip() {
            std::net::IpAddr::V4(address) => address.octets()[3],
            std::net::IpAddr::V6(_) => 0,
        })
        .collect()
}

#[test]
fn lists_follow_conditions_and_hints() {
    use Rule::{NodeHints, Ready, ServingTerminating, ZoneHints};
    type Case = (&'static str, &'static [&'static str], (&'static [u8], Rule), &'static [u8]);
    let cases: [Case; 11] = [
        ("ready endpoints serve", &["1 node1 r", "2 node2 r", "3 node1 -"], (&[1, 2], Ready), &[1]),
        (
            "not ready and not terminating is never used",
            &["1 node1 s", "2 node2 -"],
            (&[], ServingTerminating),
            &[],
        ),
        ("all terminating: those that serve", &["1 node1 st", "2 node2 t"], (&[1], ServingTerminating), &[1]),
        ("one ready is enough to leave the terminating", &["1 node1 st", "2 node1 r"], (&[2], Ready), &[2]),
        ("the local list falls back by itself", &["1 node1 st", "2 node2 r"], (&[2], Ready), &[1]),
        ("hints for the zone", &["1 node1 r zone=b", "2 node2 r zone=a"], (&[2], ZoneHints), &[1]),
        (
            "hints for the node win",
            &["1 node1 r zone=a node=node2", "2 node2 r zone=b node=node1"],
            (&[2], NodeHints),
            &[1],
        ),
        ("a missing hint voids all", &["1 node1 r", "2 node2 r zone=a"], (&[1, 2], Ready), &[1]),
        (
            "hints that leave this zone without endpoint are void",
            &["1 node1 r zone=b", "2 node2 r zone=b"],
            (&[1, 2], Ready),
            &[1],
        ),
        (
            "node hints that leave this node without endpoint fall to zones",
            &["1 node1 r zone=a node=node3"],
            (&[1], ZoneHints),
            &[1],
        ),
        (
            "hints of terminating endpoints are not looked at",
            &["1 node2 st zone=b"],
            (&[1], ServingTerminating),
            &[],
        ),
    ];
    for (name, endpoints, cluster, local) in cases {
        let choice = choose(endpoints, false, false);
        assert_eq!((&suffixes(&choice.cluster)[..], choice.cluster.rule), cluster, "{name}");
        assert_eq!(suffixes(&choice.local), local, "{name}, local");
    }
}

/// The behaviour matrix of kube-proxy's TestInternalExternalMasquerade: one endpoint here, one elsewhere.
#[test]
fn policies_decide_endpoints_and_masquerade() {
    use Client::{Node, Outside, Pod};
    use Entrance::{External, Internal};
    const BOTH: &[u8] = &[1, 2];
    const HERE: &[u8] = &[1];
    let (default, external_local, internal_local) = ((false, false), (false, true), (true, false));
    let cases = [
        (default, Pod, Internal, BOTH, false),
        (default, Pod, External, BOTH, true),
        (default, Node, Internal, BOTH, true),
        (default, Node, External, BOTH, true),
        (default, Outside, Internal, BOTH, true),
        (default, Outside, External, BOTH, true),
        (external_local, Pod, Internal, BOTH, false),
        (external_local, Pod, External, BOTH, false),
        (external_local, Node, Internal, BOTH, true),
        (external_local, Node, External, BOTH, true),
        (external_local, Outside, Internal, BOTH, true),
        (external_local, Outside, External, HERE, false),
        (internal_local, Pod, Internal, HERE, false),
        (internal_local, Pod, External, BOTH, true),
        (internal_local, Node, Internal, HERE, true),
        (internal_local, Outside, External, BOTH, true),
    ];
    for ((internal, external), client, entrance, expected, masquerade) in cases {
        let choice = choose(&["1 node1 r", "2 node2 r"], internal, external);
        let answer = choice.answer(entrance, client);
        let Outcome::Serve(list) = answer.outcome else { panic!("{client:?} {entrance:?}") };
        assert_eq!(
            (&suffixes(list)[..], answer.masquerade),
            (expected, masquerade),
            "{client:?} {entrance:?}"
        );
    }
}

#[test]
fn nobody_anywhere_is_a_reject_and_nobody_here_is_a_drop() {
    let nobody = choose(&[], true, true);
    assert_eq!(nobody.answer(Entrance::Internal, Client::Pod).outcome, Outcome::Reject);
    assert_eq!(nobody.answer(Entrance::External, Client::Outside).outcome, Outcome::Reject);
    let elsewhere = choose(&["2 node2 r"], true, true);
    assert_eq!(elsewhere.answer(Entrance::Internal, Client::Pod).outcome, Outcome::Drop);
    assert_eq!(elsewhere.answer(Entrance::External, Client::Outside).outcome, Outcome::Drop);
    assert!(matches!(elsewhere.answer(Entrance::External, Client::Pod).outcome, Outcome::Serve(_)));
}
