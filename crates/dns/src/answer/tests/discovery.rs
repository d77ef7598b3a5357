//! The specification, section by section, then what CoreDNS adds to it.

use serde_json::json;
use service::Event;
use service::objects::Namespace;

use super::scene::{NOW, Scene};
use crate::names::Input;
use crate::wire::kind::{A, AAAA, ANY, CNAME, NS, PTR, SOA, SRV, TXT};

const MX: u16 = 15;
const WEB: &str = "web.default.svc.cluster.local.";
const DB: &str = "db.default.svc.cluster.local.";

/// `web` has a ClusterIP, `db` is headless with a hostname and a second slice manager, `six` is dual-stack.
fn scene() -> Scene {
    let mut scene = Scene::new();
    let http = json!([{"name": "http", "port": 80}]);
    let sql = json!([{"name": "sql", "port": 5432}]);
    scene
        .service("web", json!({"clusterIP": "10.96.0.7", "ports": [{"name": "http", "port": 8080}]}))
        .slice("web-1", "web", http, json!([{"addresses": ["10.244.1.2"]}]))
        .service("db", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]}))
        .slice(
            "db-1",
            "db",
            sql.clone(),
            json!([
                {"addresses": ["10.244.1.3"], "hostname": "db-0"},
                {"addresses": ["10.244.2.3"]},
                {"addresses": ["10.244.9.9"], "conditions": {"ready": false}}
            ]),
        )
        .slice("db-2", "db", sql, json!([{"addresses": ["10.244.2.3"]}]))
        .service(
            "six",
            json!({"clusterIP": "10.96.0.8", "clusterIPs": ["10.96.0.8", "fd00::8"], "ports": [{"port": 1}]}),
        );
    scene
}

#[test]
fn s2_2_the_schema_has_a_version() {
    let scene = scene();
    assert_eq!(scene.answers("dns-version.cluster.local", TXT), ["1.1.0"]);
    assert_eq!(scene.status("dns-version.cluster.local", A), "NODATA");
    assert_eq!(scene.status(WEB, TXT), "NODATA");
    assert_eq!(scene.status("nothing.cluster.local", TXT), "NXDOMAIN");
}

#[test]
fn s2_3_1_a_service_has_its_cluster_ips_by_family() {
    let scene = scene();
    assert_eq!(scene.answers(WEB, A), ["10.96.0.7"]);
    assert_eq!(scene.status(WEB, AAAA), "NODATA");
    assert_eq!(scene.answers("six.default.svc.cluster.local", A), ["10.96.0.8"]);
    assert_eq!(scene.answers("six.default.svc.cluster.local", AAAA), ["fd00::8"]);
}

#[test]
fn s2_3_2_named_ports_have_srv_records_and_unnamed_ones_have_none() {
    let scene = scene();
    assert_eq!(
        scene.ask(&format!("_http._tcp.{WEB}"), SRV),
        [
            "rcode 0".to_owned(),
            format!("answer _http._tcp.{WEB} SRV 0 100 8080 {WEB}"),
            format!("additional {WEB} A 10.96.0.7"),
        ]
    );
    for absent in ["_http._udp.", "_https._tcp.", "http.tcp.", "_._tcp.", "_http._ftp."] {
        assert_eq!(scene.status(&format!("{absent}{WEB}"), SRV), "NXDOMAIN", "{absent}");
    }
    assert_eq!(scene.status("_._tcp.six.default.svc.cluster.local", SRV), "NXDOMAIN");
}

#[test]
fn s2_3_3_a_cluster_ip_has_a_ptr_record_to_its_service() {
    let scene = scene();
    assert_eq!(scene.answers("7.0.96.10.in-addr.arpa", PTR), [WEB]);
    let six = "8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
    assert_eq!(scene.answers(six, PTR), ["six.default.svc.cluster.local."]);
    assert_eq!(scene.status("7.0.96.10.in-addr.arpa", A), "NODATA");
}

#[test]
fn s2_4_1_a_headless_service_has_its_ready_endpoints_each_once() {
    let scene = scene();
    assert_eq!(scene.answers(DB, A), ["10.244.1.3", "10.244.2.3"]);
    assert_eq!(scene.status(DB, AAAA), "NODATA");
}

#[test]
fn s2_4_1_a_headless_service_without_ready_endpoints_has_no_name() {
    let mut scene = scene();
    scene.service("none", json!({"clusterIP": "None"}));
    assert_eq!(scene.status("none.default.svc.cluster.local", A), "NXDOMAIN");
    scene.slice(
        "none-1",
        "none",
        json!([]),
        json!([{"addresses": ["10.244.1.9"], "conditions": {"ready": false}}]),
    );
    assert_eq!(scene.status("none.default.svc.cluster.local", A), "NXDOMAIN");
    scene.slice(
        "none-1",
        "none",
        json!([]),
        json!([{"addresses": ["10.244.1.9"], "conditions": {"ready": true}}]),
    );
    assert_eq!(scene.answers("none.default.svc.cluster.local", A), ["10.244.1.9"]);
    assert_eq!(scene.status("none.default.svc.cluster.local", SRV), "NODATA");
}

#[test]
fn s2_4_1_each_host_of_a_headless_service_has_a_name() {
    let scene = scene();
    assert_eq!(scene.answers(&format!("db-0.{DB}"), A), ["10.244.1.3"]);
    assert_eq!(scene.answers(&format!("10-244-2-3.{DB}"), A), ["10.244.2.3"]);
    assert_eq!(scene.status(&format!("db-0.{DB}"), AAAA), "NODATA");
    // An endpoint with a hostname has no name made of its address.
    for absent in ["10-244-1-3", "10-244-9-9", "010-244-2-3", "db-1"] {
        assert_eq!(scene.status(&format!("{absent}.{DB}"), A), "NXDOMAIN", "{absent}");
    }
}

#[test]
fn s2_4_2_endpoints_and_named_ports_make_srv_records() {
    let scene = scene();
    assert_eq!(
        scene.ask(&format!("_sql._tcp.{DB}"), SRV),
        [
            "rcode 0".to_owned(),
            format!("answer _sql._tcp.{DB} SRV 0 50 5432 10-244-2-3.{DB}"),
            format!("answer _sql._tcp.{DB} SRV 0 50 5432 db-0.{DB}"),
            format!("additional 10-244-2-3.{DB} A 10.244.2.3"),
            format!("additional db-0.{DB} A 10.244.1.3"),
        ]
    );
}

#[test]
fn s2_4_2_the_addresses_of_a_target_are_sent_once_however_many_ports_it_has() {
    let mut scene = scene();
    let ports = json!([{"name": "a", "port": 1}, {"name": "b", "port": 2}]);
    let hosts = json!([{"addresses": ["10.244.1.4"]}, {"addresses": ["10.244.1.5"]}]);
    scene.service("two", json!({"clusterIP": "None"})).slice("two-1", "two", ports, hosts);
    let lines = scene.ask("two.default.svc.cluster.local", SRV);
    let count = |section| lines.iter().filter(|line| line.starts_with(section)).count();
    assert_eq!((count("answer"), count("additional")), (4, 2));
    assert!(lines[1].contains("SRV 0 25 "));
}

#[test]
fn s2_4_2_a_host_with_an_address_in_each_family_is_one_target() {
    let mut scene = scene();
    let sql = json!([{"name": "sql", "port": 5432}]);
    scene.slice("db-3", "db", sql, json!([{"addresses": ["fd00::3"], "hostname": "db-0"}]));
    assert_eq!(scene.answers(&format!("db-0.{DB}"), AAAA), ["fd00::3"]);
    let targets = scene.answers(&format!("_sql._tcp.{DB}"), SRV);
    assert_eq!(targets, [format!("0 50 5432 10-244-2-3.{DB}"), format!("0 50 5432 db-0.{DB}")]);
}

#[test]
fn s2_4_3_endpoints_have_ptr_records_to_their_names() {
    let mut scene = scene();
    assert_eq!(scene.answers("3.1.244.10.in-addr.arpa", PTR), [format!("db-0.{DB}")]);
    scene.slice("web-1", "web", json!([]), json!([{"addresses": ["10.244.1.3"]}]));
    let both = scene.answers("3.1.244.10.in-addr.arpa", PTR);
    assert_eq!(both, [format!("10-244-1-3.{WEB}"), format!("db-0.{DB}")]);
    // These are not in the cluster, and without upstream resolvers they are refused.
    for foreign in ["2.1.244.10", "03.1.244.10", "1.244.10", "9.9.244.10"] {
        assert_eq!(scene.status(&format!("{foreign}.in-addr.arpa"), PTR), "REFUSED", "{foreign}");
    }
}

#[test]
fn s2_5_an_external_name_is_an_alias() {
    let mut scene = scene();
    scene.service("out", json!({"type": "ExternalName", "externalName": "Foo.example.com."}));
    for kind in [A, AAAA, CNAME, SRV, MX] {
        assert_eq!(scene.answers("out.default.svc.cluster.local", kind), ["foo.example.com."]);
    }
    for part in ["_http._tcp", "pod"] {
        assert_eq!(scene.status(&format!("{part}.out.default.svc.cluster.local"), A), "NXDOMAIN");
    }
    scene.service("out", json!({"type": "ExternalName", "externalName": "192.0.2.1"}));
    assert_eq!(scene.status("out.default.svc.cluster.local", A), "NXDOMAIN");
}

#[test]
fn s2_5_an_alias_inside_the_cluster_is_followed_there() {
    let mut scene = scene();
    scene.service("in", json!({"type": "ExternalName", "externalName": WEB}));
    scene.service("in2", json!({"type": "ExternalName", "externalName": "in.default.svc.cluster.local"}));
    let name = "in2.default.svc.cluster.local";
    assert_eq!(
        scene.ask(name, A),
        [
            "rcode 0".to_owned(),
            format!("answer {name}. CNAME in.default.svc.cluster.local."),
            format!("answer in.default.svc.cluster.local. CNAME {WEB}"),
            format!("answer {WEB} A 10.96.0.7"),
        ]
    );
    assert_eq!(scene.answers(name, CNAME), ["in.default.svc.cluster.local."]);
    let nodata = scene.ask(name, AAAA);
    assert_eq!((nodata.len(), &*nodata[0]), (4, "rcode 0"));
    assert!(nodata[3].starts_with("authority cluster.local. SOA "), "{nodata:?}");
    scene.service("in", json!({"type": "ExternalName", "externalName": "gone.default.svc.cluster.local"}));
    assert_eq!(scene.ask(name, A)[0], "rcode 3", "the last name of the chain counts (RFC 6604)");
    scene.service("in", json!({"type": "ExternalName", "externalName": name}));
    assert_eq!(scene.ask(name, A), ["rcode 2"], "aliases in a circle end in SERVFAIL without records");
}

#[test]
fn coredns_empty_non_terminals_have_no_data() {
    let scene = scene();
    for empty in ["", "svc.", "pod.", "default.svc.", "empty.svc.", "default.pod.", "dns."] {
        assert_eq!(scene.status(&format!("{empty}cluster.local"), A), "NODATA", "{empty}");
    }
    assert_eq!(scene.status(&format!("_tcp.{WEB}"), SRV), "NODATA");
    for absent in ["com.", "other.svc.", "other.pod.", "web.", "web.default.", "www.google.com.default.svc."]
    {
        assert_eq!(scene.status(&format!("{absent}cluster.local"), A), "NXDOMAIN", "{absent}");
    }
    assert_eq!(scene.status(&format!("_udp.{WEB}"), SRV), "NXDOMAIN");
    assert_eq!(scene.status(&format!("a.b.c.{WEB}"), A), "NXDOMAIN");
}

#[test]
fn coredns_a_namespace_is_a_name_while_it_or_a_service_in_it_exists() {
    let mut scene = scene();
    for (namespace, status) in [("empty", "NXDOMAIN"), ("default", "NODATA")] {
        scene.feed(Input::Namespace(Event::Delete(Namespace::named(namespace))));
        assert_eq!(scene.status(&format!("{namespace}.svc.cluster.local"), A), status);
    }
    scene.feed(Input::Service(Event::Relist));
    scene.feed(Input::Service(Event::Synced));
    assert_eq!(scene.status("default.svc.cluster.local", A), "NXDOMAIN");
}

#[test]
fn coredns_srv_without_a_port_in_the_name_has_all_ports() {
    let scene = scene();
    assert_eq!(
        scene.answers("six.default.svc.cluster.local", SRV),
        ["0 100 1 six.default.svc.cluster.local."]
    );
    assert_eq!(scene.answers(&format!("db-0.{DB}"), SRV), [format!("0 100 5432 db-0.{DB}")]);
    assert_eq!(scene.answers(DB, SRV).len(), 2);
}

#[test]
fn coredns_endpoints_of_a_cluster_ip_have_names_and_ports_addresses() {
    let scene = scene();
    assert_eq!(scene.answers(&format!("10-244-1-2.{WEB}"), A), ["10.244.1.2"]);
    assert_eq!(scene.answers(&format!("_http._tcp.{WEB}"), A), ["10.96.0.7"]);
    assert_eq!(scene.answers(&format!("_sql._tcp.{DB}"), A), ["10.244.1.3", "10.244.2.3"]);
}

#[test]
fn coredns_pods_insecure_repeats_the_address_in_the_name() {
    let scene = scene();
    assert_eq!(scene.answers("10-1-2-3.default.pod.cluster.local", A), ["10.1.2.3"]);
    assert_eq!(scene.answers("fd00--1.default.pod.cluster.local", AAAA), ["fd00::1"]);
    assert_eq!(scene.status("10-1-2-3.default.pod.cluster.local", AAAA), "NODATA");
    assert_eq!(scene.status("10-1-2-3.other.pod.cluster.local", A), "NXDOMAIN");
    assert_eq!(scene.status("web.default.pod.cluster.local", A), "NXDOMAIN");
}

#[test]
fn coredns_the_apex_has_soa_and_ns_records() {
    let scene = scene();
    let soa = format!("ns.dns.cluster.local. hostmaster.cluster.local. {NOW} 7200 1800 86400 5");
    assert_eq!(scene.answers("cluster.local", SOA), [soa.as_str()]);
    assert_eq!(scene.ask("no.cluster.local", A), ["rcode 3", &format!("authority cluster.local. SOA {soa}")]);
    assert_eq!(
        scene.ask("cluster.local", NS),
        [
            "rcode 0",
            "answer cluster.local. NS ns.dns.cluster.local.",
            "additional ns.dns.cluster.local. A 10.96.0.10",
            "additional ns.dns.cluster.local. AAAA fd00::10",
        ]
    );
    assert_eq!(scene.answers("ns.dns.cluster.local", A), ["10.96.0.10"]);
    assert_eq!(scene.answers(WEB, ANY), ["RFC8482"]);
    assert_eq!(scene.status("no.cluster.local", ANY), "NXDOMAIN");
}

#[test]
fn coredns_before_the_first_lists_are_complete_queries_fail() {
    let mut scene = Scene::unknown();
    scene.feed(Input::Namespace(Event::Synced));
    scene.feed(Input::Service(Event::Synced));
    for name in ["web.default.svc.cluster.local", "cluster.local", "7.0.96.10.in-addr.arpa"] {
        assert_eq!(scene.status(name, A), "SERVFAIL", "{name}");
    }
    scene.feed(Input::Slice(Event::Synced));
    assert_eq!(scene.status("web.default.svc.cluster.local", A), "NXDOMAIN");
}

#[test]
fn the_ptr_record_of_an_address_follows_it_to_another_service() {
    let mut scene = scene();
    scene.service("next", json!({"clusterIP": "10.96.0.7"}));
    let web = json!({"metadata": {"name": "web", "namespace": "default"}});
    scene.feed(Input::Service(Event::Delete(serde_json::from_value(web).unwrap())));
    assert_eq!(scene.answers("7.0.96.10.in-addr.arpa", PTR), ["next.default.svc.cluster.local."]);
    assert_eq!(scene.status(WEB, A), "NXDOMAIN");
}
