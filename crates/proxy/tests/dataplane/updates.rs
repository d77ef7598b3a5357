//! Changes while connections go on.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use crate::namespace::Namespace;
use crate::policies::keep_at_the_other;
use crate::scene::{NODE, POD1, POD2, Scene, service, slice, slice_of};
use crate::server::{Asker, Connection, ask};

const VIP: &str = "10.96.0.20";
const BOTH: [(&str, &str); 2] = [(POD1, "node"), (POD2, "node")];
/// So many changes are made at most, however slow connections are.
const MOST_CHANGES: usize = 100_000;

#[test]
fn one_endpoint_costs_a_few_elements() {
    let Some(mut scene) = Scene::new() else { return };
    let first = scene.apply(&[service("web", VIP, json!({})), slice("web-1", "web", &BOTH)]);
    assert!(first.full);
    // Slot and hairpin.
    let report = scene.apply(&[slice("web-1", "web", &BOTH[..1])]);
    assert!(!report.full && report.elements == 2, "{report:?}");
    let report = scene.apply(&[slice("web-1", "web", &BOTH)]);
    assert!(!report.full && report.elements == 2, "{report:?}");
    assert_eq!(scene.apply(&[slice("web-1", "web", &BOTH)]).elements, 0, "no news, no change");
}

/// Connects from a pod again and again while `change` is done, 300 times and on until there were enough connections;
/// each must succeed.
fn no_connection_fails_while(change: impl Fn(&mut Scene, usize)) {
    let Some(mut scene) = Scene::new() else { return };
    scene.apply(&[service("web", VIP, json!({})), slice("web-1", "web", &BOTH)]);
    let (done, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let vip = format!("{VIP}:8080");
    let pod1 = std::mem::replace(&mut scene.pod1, Namespace::new("spare"));
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let count = answers.load(Ordering::Relaxed);
                ask(&pod1, &vip).unwrap_or_else(|error| panic!("after {count} answers: {error}"));
                answers.store(count + 1, Ordering::Relaxed);
            }
        });
        let wanted = |round| round < 300 || (answers.load(Ordering::Relaxed) < 21 && !client.is_finished());
        let changes =
            (0..MOST_CHANGES).take_while(|round| wanted(*round)).map(|round| change(&mut scene, round));
        let changes = changes.count();
        done.store(true, Ordering::Relaxed);
        client.join().unwrap();
        let answers = answers.load(Ordering::Relaxed);
        println!("{answers} connections during {changes} changes");
        assert!(answers > 20);
    });
}

#[test]
fn no_connection_fails_while_endpoints_come_and_go() {
    no_connection_fails_while(|scene, round| {
        let endpoints = if round % 2 == 0 { &BOTH[..1] } else { &BOTH[..] };
        scene.apply(&[slice("web-1", "web", endpoints)]);
    });
}

#[test]
fn no_connection_fails_while_the_proxy_restarts() {
    no_connection_fails_while(|scene, _| {
        let report = scene.restart();
        assert!(!report.full && report.elements == 0, "{report:?}");
    });
}

#[test]
fn a_connection_lives_through_a_restart_of_the_proxy() {
    let Some(mut scene) = Scene::new() else { return };
    let port = json!([{"name": "http", "port": 8080, "nodePort": 31688}]);
    scene.apply(&[
        service("web", VIP, json!({"type": "NodePort", "ports": port})),
        slice("web-1", "web", &BOTH),
    ]);
    let mut connections = [
        Connection::open(&scene.pod1, &format!("{VIP}:8080")).unwrap(),
        Connection::open(&scene.client, &format!("{NODE}:31688")).unwrap(),
    ];
    let before: Vec<_> = connections.iter_mut().map(|connection| connection.ask().unwrap()).collect();
    let listed = scene.listing();
    let kept = scene.restart();
    assert!(!kept.full && kept.elements == 0, "what is right is left alone: {kept:?}");
    scene.nft("flush chain inet portolan services");
    let repaired = scene.restart();
    assert!(!repaired.full && repaired.elements == 1, "a damaged chain is written anew: {repaired:?}");
    let after: Vec<_> = connections.iter_mut().map(|connection| connection.ask().unwrap()).collect();
    assert_eq!(before, after);
    assert_eq!(scene.listing().len(), listed.len(), "the same table, once");
    ask(&scene.pod1, &format!("{VIP}:8080")).unwrap();
}

#[test]
fn a_restart_makes_up_for_what_happened_meanwhile() {
    let Some(mut scene) = Scene::new() else { return };
    let other = service("other", "10.96.0.21", json!({}));
    scene.apply(&[service("web", VIP, json!({})), slice("web-1", "web", &BOTH), other.clone()]);
    scene.note_only(&[slice("web-1", "web", &BOTH[1..]), slice("other-1", "other", &BOTH)]);
    let report = scene.restart();
    assert!(!report.full && report.elements > 0, "{report:?}");
    assert_eq!(ask(&scene.pod1, &format!("{VIP}:8080")).unwrap().server, "pod2");
    assert_eq!(scene.spread(&scene.pod1, "10.96.0.21:8080", 40).len(), 2);
    assert_eq!(scene.restart().elements, 0);
    let listed = scene.listing();
    scene.nft("delete table inet portolan");
    assert!(scene.restart().full);
    let loaded = scene.listing();
    assert!(pieces(&listed) == pieces(&loaded), "a fresh load gives the same");
}

#[test]
fn any_sequence_of_changes_leaves_what_a_fresh_load_gives() {
    let Some(mut scene) = Scene::new() else { return };
    let mut number = 7u64;
    let mut below = |bound: u64| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (number >> 33) % bound
    };
    scene.sync();
    for _ in 0..150 {
        let name = format!("s{}", below(6));
        let object = match below(4) {
            // Few addresses and ports, so that Services clash.
            0 => {
                let policy = ["Cluster", "Local"][below(2) as usize];
                let protocol = ["TCP", "UDP"][below(2) as usize];
                let port =
                    json!([{"name": "http", "port": 80, "protocol": protocol, "nodePort": 30000 + below(4)}]);
                let external = format!("198.51.100.{}", below(3));
                let spec = json!({"type": "NodePort", "externalTrafficPolicy": policy, "internalTrafficPolicy": policy,
                    "ports": port, "externalIPs": [external]});
                service(&name, &format!("10.96.0.{}", below(4)), spec)
            }
            _ => {
                let addresses: Vec<_> =
                    (0..below(9)).map(|_| format!("10.244.9.{}", 1 + below(12))).collect();
                let node = ["node", "elsewhere"][below(2) as usize];
                let endpoints: Vec<_> = addresses.iter().map(|address| (address.as_str(), node)).collect();
                let protocol = ["TCP", "UDP"][below(2) as usize];
                slice_of(&format!("{name}-{}", below(2)), &name, 80, protocol, &endpoints)
            }
        };
        let report = if below(6) == 0 { scene.delete(&[object]) } else { scene.apply(&[object]) };
        assert!(!report.full, "a change was refused");
    }
    scene.sync();
    let followed = scene.listing();
    assert!(scene.load_afresh().full);
    let loaded = scene.listing();
    assert!(pieces(&followed) == pieces(&loaded), "{followed}\n{loaded}");
}

/// Elements and rules of a listing without their order, which in a hash table is any.
pub(crate) fn pieces(listing: &str) -> Vec<&str> {
    let mut pieces: Vec<_> = listing.split([',', '\n', '{', '}']).map(str::trim).collect();
    pieces.sort_unstable();
    pieces
}

#[test]
fn no_connection_fails_while_the_table_is_replaced() {
    no_connection_fails_while(|scene, round| {
        if round % 10 == 0 {
            scene.nft(
                "add chain inet portolan filter-input { type filter hook input priority 0; policy drop; }",
            );
            assert!(scene.restart().full);
        }
    });
}

#[test]
fn clients_are_remembered_when_the_table_is_replaced() {
    let Some(mut scene) = Scene::new() else { return };
    scene.apply(&[service("web", VIP, json!({"sessionAffinity": "ClientIP"})), slice("web-1", "web", &BOTH)]);
    let server = keep_at_the_other(&mut scene, |scene| &scene.pod1, &format!("{VIP}:8080"));
    scene.nft("add chain inet portolan filter-input { type filter hook input priority 0; policy drop; }");
    assert!(scene.restart().full);
    let spread = scene.spread(&scene.pod1, &format!("{VIP}:8080"), 20);
    assert_eq!(spread.into_keys().collect::<Vec<_>>(), [server]);
    assert_eq!(scene.nft("list tables"), "table inet portolan\n");
}

#[test]
fn connections_are_counted_by_service_and_endpoint() {
    let Some(mut scene) = Scene::new() else { return };
    let port = json!([{"name": "http", "port": 8080, "nodePort": 31688}]);
    scene.apply(&[
        service("web", VIP, json!({"type": "NodePort", "ports": port})),
        slice("web-1", "web", &BOTH),
        service("idle", "10.96.0.30", json!({})),
    ]);
    let spread = scene.spread(&scene.client, &format!("{VIP}:8080"), 20);
    ask(&scene.client, &format!("{NODE}:31688")).unwrap();
    let counts = scene.counts();
    let of = |endpoint: Option<&str>| {
        let endpoint = endpoint.map(|address| format!("{address}:80").parse().unwrap());
        counts.iter().find(|count| count.endpoint == endpoint).unwrap().connections as usize
    };
    assert_eq!(of(None), 21);
    assert_eq!(of(Some(POD1)) + of(Some(POD2)), 21);
    assert!(of(Some(POD1)) >= spread["pod1"]);
    assert!(counts.iter().all(|count| &*count.service == "default/web:http"), "{counts:?}");
}

#[test]
fn udp_clients_leave_an_endpoint_that_is_gone() {
    let Some(mut scene) = Scene::new() else { return };
    let port = json!([{"name": "http", "port": 53, "protocol": "UDP", "nodePort": 31053}]);
    scene.apply(&[
        service("dns", VIP, json!({"type": "NodePort", "ports": port})),
        slice_of("dns-1", "dns", 80, "UDP", &BOTH[..1]),
    ]);
    let askers =
        [Asker::new(&scene.pod2, &format!("{VIP}:53")), Asker::new(&scene.client, &format!("{NODE}:31053"))];
    for asker in &askers {
        assert_eq!(asker.ask().unwrap().server, "pod1");
    }
    let report = scene.apply(&[slice_of("dns-1", "dns", 80, "UDP", &BOTH[1..])]);
    assert_eq!(report.flows, 2, "{report:?}");
    for asker in &askers {
        assert_eq!(asker.ask().unwrap().server, "pod2", "the same socket, another endpoint");
    }
    assert_eq!(scene.restart().flows, 0, "a restart leaves good connections alone");
    scene.note_only(&[slice_of("dns-1", "dns", 80, "UDP", &BOTH[..1])]);
    assert_eq!(scene.restart().flows, 2, "and ends those to an endpoint that went meanwhile");
    assert_eq!(askers[0].ask().unwrap().server, "pod1");
    scene.apply(&[slice_of("dns-1", "dns", 80, "UDP", &[])]);
    assert_eq!(askers[0].ask().unwrap_err().kind(), ErrorKind::ConnectionRefused, "not lost in silence");
}

#[test]
fn a_service_that_is_deleted_leaves_nothing_behind() {
    let Some(mut scene) = Scene::new() else { return };
    scene.apply(&[service("other", "10.96.0.99", json!({}))]);
    let empty = scene.listing();
    let port = json!([{"name": "http", "port": 8080, "nodePort": 31688}]);
    let objects =
        [service("web", VIP, json!({"type": "NodePort", "ports": port})), slice("web-1", "web", &BOTH)];
    scene.apply(&objects);
    assert_ne!(scene.listing(), empty);
    scene.delete(&objects);
    // A chain outlives its last user by one transaction.
    scene.sync();
    assert_eq!(scene.listing(), empty);
    assert_eq!(ask(&scene.node, &format!("{NODE}:31688")).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn nft_lists_the_table_readably() {
    let Some(mut scene) = Scene::new() else { return };
    let spec = json!({
        "type": "NodePort", "externalTrafficPolicy": "Local", "clusterIPs": [VIP, "fd00:96::20"],
        "ports": [{"name": "http", "port": 8080, "nodePort": 31688}]
    });
    scene.apply(&[
        service("web", VIP, spec),
        slice("web-1", "web", &[(POD1, "node"), (POD2, "elsewhere")]),
        service("idle", "10.96.0.30", json!({"externalIPs": ["198.51.100.7"]})),
    ]);
    let listed = scene.listing();
    println!("{listed}");
    for expected in [
        "10.96.0.20 . tcp . 8080 counter comment \"default/web:http\" : goto service-1-4",
        "tcp . 31688 counter comment \"default/web:http\" : goto node-port-local-1-of-1-4",
        "10.96.0.20 . tcp . 8080 . 0x00000001 counter : 10.244.2.2 . 80",
        "198.51.100.7 . tcp . 8080 comment \"default/idle:http\"",
        "dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 2 map @service-endpoints",
        "ip daddr . meta l4proto . th dport vmap @service-ips",
        "ip6 daddr . meta l4proto . th dport vmap @service-ips6",
        "fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @node-ports",
        "ip saddr != @cluster-cidrs ip daddr @cluster-ips meta mark set meta mark | 0x00004000",
        "ct state new jump no-such-port",
        "ip daddr @service-cidrs drop",
        "elements = { 10.244.0.0/16 }",
        "reject with tcp reset",
        "masquerade fully-random",
    ] {
        assert!(listed.contains(expected), "{expected} is missing in:\n{listed}");
    }
    proxy::cleanup(&mut scene.node.run(|| nfnetlink::Socket::open().unwrap())).unwrap();
    assert_eq!(scene.nft("list tables"), "");
}
