//! The names of a cluster as `dig` sees them.

use serde_json::{Value, json};
use service::Event;

use crate::harness::{Server, service, slice};

fn tutorial() -> (Vec<Value>, Vec<Value>) {
    let services = vec![
        service("httpd-svc", json!({"clusterIP": "10.96.0.7", "ports": [{"name": "http", "port": 8080}]})),
        service("headless", json!({"clusterIP": "None", "ports": [{"name": "http", "port": 80}]})),
        service("elsewhere", json!({"type": "ExternalName", "externalName": "foo.example.com"})),
    ];
    let slices = vec![
        slice("httpd-1", "httpd-svc", &["10.244.1.2"]),
        slice("headless-1", "headless", &["10.244.1.2", "10.244.2.2"]),
        slice("headless-2", "headless", &["10.244.2.2", "10.244.3.2"]),
    ];
    (services, slices)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_names_of_the_tutorial_over_udp_and_tcp() {
    let (services, slices) = tutorial();
    let server = Server::with(&services, &slices, Vec::new()).await;
    for way in ["+notcp", "+tcp"] {
        let short = async |question: &str| server.short(&format!("{way} {question}")).await;
        assert_eq!(short("httpd-svc.default.svc.cluster.local A").await, ["10.96.0.7"]);
        assert!(short("httpd-svc.default.svc.cluster.local AAAA").await.is_empty());
        let pods = ["10.244.1.2", "10.244.2.2", "10.244.3.2"];
        assert_eq!(short("headless.default.svc.cluster.local A").await, pods);
        assert_eq!(short("10-244-2-2.headless.default.svc.cluster.local A").await, ["10.244.2.2"]);
        assert_eq!(short("elsewhere.default.svc.cluster.local CNAME").await, ["foo.example.com."]);
        assert_eq!(short("elsewhere.default.svc.cluster.local A").await, ["foo.example.com."]);
        assert_eq!(
            short("_http._tcp.httpd-svc.default.svc.cluster.local SRV").await,
            ["0 100 8080 httpd-svc.default.svc.cluster.local."]
        );
        assert_eq!(short("-x 10.96.0.7").await, ["httpd-svc.default.svc.cluster.local."]);
    }
    let missing = server.dig("web.default.svc.cluster.local A").await;
    assert!(
        missing.contains("status: NXDOMAIN") && missing.contains("SOA\tns.dns.cluster.local."),
        "{missing}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_type_is_seen_by_the_next_query() {
    let (services, slices) = tutorial();
    let server = Server::with(&services, &slices, Vec::new()).await;
    let name = "elsewhere.default.svc.cluster.local";
    server.service(&service("elsewhere", json!({"type": "ExternalName", "externalName": "bar.example.com"})));
    eventually(&server, &format!("{name} CNAME"), &["bar.example.com."]).await;
    server.service(&service("elsewhere", json!({"type": "ClusterIP", "clusterIP": "10.96.0.9"})));
    eventually(&server, &format!("{name} A"), &["10.96.0.9"]).await;
    let gone = serde_json::from_value(services[0].clone()).unwrap();
    server.feed(dns::Input::Service(Event::Delete(gone)));
    eventually(&server, "httpd-svc.default.svc.cluster.local A", &[]).await;
}

async fn eventually(server: &Server, question: &str, expected: &[&str]) {
    for _ in 0..50 {
        if server.short(question).await == expected {
            return;
        }
    }
    assert_eq!(server.short(question).await, expected);
}
