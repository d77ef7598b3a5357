//! SRV records and addresses of Services with several slices, ports and zones.

use serde_json::json;

use super::scene::Scene;
use crate::wire::Name;
use crate::wire::kind::{A, AAAA, NS, PTR, SRV};

const DB: &str = "db.default.svc.cluster.local.";

/// A headless Service: one slice serves `sql`, the other `sql` and `http`; `db-0` is in both.
fn db() -> Scene {
    let mut scene = Scene::new();
    let sql = json!({"name": "sql", "port": 5432});
    let both = json!([{"addresses": ["10.244.1.3"], "hostname": "db-0"}, {"addresses": ["10.244.2.3"]}]);
    scene
        .service("db", json!({"clusterIP": "None"}))
        .slice("db-1", "db", json!([sql]), json!([{"addresses": ["10.244.1.3"], "hostname": "db-0"}]))
        .slice("db-2", "db", json!([sql, {"name": "http", "port": 80}]), both);
    scene
}

#[test]
fn coredns_a_port_has_the_addresses_of_the_endpoints_that_serve_it() {
    let mut scene = db();
    let only = json!([{"addresses": ["10.244.9.9"]}, {"addresses": ["10.244.2.3"], "hostname": "x"}]);
    scene.slice("db-3", "db", json!([{"name": "more", "port": 1}]), only);
    assert_eq!(scene.answers(&format!("_http._tcp.{DB}"), A), ["10.244.1.3", "10.244.2.3"]);
    assert_eq!(scene.answers(&format!("_more._tcp.{DB}"), A), ["10.244.2.3", "10.244.9.9"]);
    assert_eq!(scene.status(&format!("_more._tcp.{DB}"), AAAA), "NODATA");
    assert_eq!(scene.answers(DB, A).len(), 3, "the name of the Service has all");
}

#[test]
fn rfc2181_a_target_with_a_port_number_is_sent_once_whatever_slices_and_protocols_have_it() {
    let scene = db();
    let targets = [format!("0 50 5432 10-244-2-3.{DB}"), format!("0 50 5432 db-0.{DB}")];
    assert_eq!(scene.answers(&format!("_sql._tcp.{DB}"), SRV), targets);
    assert_eq!(scene.answers(DB, SRV).len(), 4, "each of two targets has two numbers");
    assert_eq!(scene.answers(&format!("db-0.{DB}"), SRV).len(), 2);
    let mut dns = Scene::new();
    let ports = json!([{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53}]);
    dns.service("dns", json!({"clusterIP": "10.96.0.53", "ports": ports}));
    let name = "dns.default.svc.cluster.local.";
    assert_eq!(dns.answers(name, SRV), [format!("0 100 53 {name}")]);
}

#[test]
fn rfc2782_every_target_has_all_its_addresses_once_in_the_additional_section() {
    let mut scene = db();
    let six = json!([{"addresses": ["fd00::3"], "hostname": "db-0"}]);
    scene.slice("db-6", "db", json!([{"name": "six", "port": 6}]), six);
    let mut lines = scene.ask(&format!("_sql._tcp.{DB}"), SRV);
    lines.retain(|line| line.starts_with("additional"));
    lines.sort();
    assert_eq!(
        lines,
        [
            format!("additional 10-244-2-3.{DB} A 10.244.2.3"),
            format!("additional db-0.{DB} A 10.244.1.3"),
            format!("additional db-0.{DB} AAAA fd00::3"),
        ]
    );
    assert_eq!(scene.answers(&format!("db-0.{DB}"), A), ["10.244.1.3"], "each address once");
}

#[test]
fn coredns_targets_are_in_the_zone_of_the_question_and_ptr_records_lead_to_the_first_zone() {
    let mut scene = Scene::with(|kubernetes| kubernetes.zones.push(Name::from_text("corp.example").unwrap()));
    let ports = json!([{"name": "http", "port": 80}]);
    scene.service("web", json!({"clusterIP": "10.96.0.7", "ports": ports}));
    for zone in ["cluster.local.", "corp.example."] {
        let name = format!("web.default.svc.{zone}");
        assert_eq!(
            scene.ask(&format!("_http._tcp.{name}"), SRV)[1..],
            [
                format!("answer _http._tcp.{name} SRV 0 100 80 {name}"),
                format!("additional {name} A 10.96.0.7"),
            ]
        );
        assert_eq!(scene.answers(zone, NS), [format!("ns.dns.{zone}")]);
    }
    assert_eq!(scene.answers("7.0.96.10.in-addr.arpa", PTR), ["web.default.svc.cluster.local."]);
}

#[test]
fn rfc5936_a_transfer_has_the_records_that_queries_get() {
    let mut scene = db();
    let ports = json!([{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]);
    scene
        .service(
            "web",
            json!({"clusterIPs": ["10.96.0.7", "fd00::7"], "clusterIP": "10.96.0.7", "ports": ports}),
        )
        .slice("web-1", "web", ports, json!([{"addresses": ["10.244.1.2"]}]))
        .service("out", json!({"type": "ExternalName", "externalName": "a.example"}));
    let mut kinds = std::collections::BTreeSet::new();
    for zone in ["cluster.local", "in-addr.arpa"] {
        let lines = scene.transfer(zone);
        assert!(lines[0].contains(" SOA ") && lines.first() == lines.last(), "{lines:?}");
        for line in &lines {
            let words: Vec<_> = line.splitn(4, ' ').collect();
            let kind = crate::wire::kind::by_name(words[2]).unwrap();
            assert!(scene.answers(words[1], kind).iter().any(|data| data == words[3]), "{line}");
            kinds.insert(words[2].to_owned());
        }
        let distinct: std::collections::BTreeSet<_> = lines[1..].iter().collect();
        assert_eq!(distinct.len(), lines.len() - 1, "each record once: {lines:#?}");
    }
    let kinds: Vec<_> = kinds.into_iter().collect();
    assert_eq!(kinds, ["A", "AAAA", "CNAME", "NS", "PTR", "SOA", "SRV", "TXT"]);
}

#[test]
fn coredns_the_services_that_this_server_is_an_endpoint_of_are_the_name_servers() {
    let mut scene = Scene::new();
    let dns = json!([{"name": "dns", "port": 53, "protocol": "UDP"}]);
    scene.service("dns", json!({"clusterIPs": ["10.96.0.53", "fd00::53"], "clusterIP": "10.96.0.53"})).slice(
        "dns-1",
        "dns",
        dns.clone(),
        json!([{"addresses": ["10.96.0.10"]}]),
    );
    let name = "dns.default.svc.cluster.local.";
    assert_eq!(
        scene.ask("cluster.local", NS),
        [
            "rcode 0".to_owned(),
            format!("answer cluster.local. NS {name}"),
            format!("additional {name} A 10.96.0.53"),
            format!("additional {name} AAAA fd00::53"),
        ]
    );
    assert_eq!(scene.answers("ns.dns.cluster.local", A), ["10.96.0.53"]);
    // A headless Service gives the names of its endpoints.
    scene.service("dns", json!({"clusterIP": "None"}));
    assert_eq!(scene.answers("cluster.local", NS), [format!("10-96-0-10.{name}")]);
}
