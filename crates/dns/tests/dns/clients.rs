//! Real stub resolvers, with the names of the DNS conformance tests of Kubernetes: `dig +search` over UDP and TCP, the
//! C libraries and others, with the search path and the ndots:5 of a pod.

mod hickory;
mod musl;
mod resolved;

use dns::{Config, Input};
use serde_json::{Value, json};
use service::Event;

use crate::harness::{Server, service, slice};
use crate::machine::{Machine, has};

/// The Services of the tests: the API server's, one with a ClusterIP, a headless one, a crowd, and an alias.
fn objects() -> (Vec<Value>, Vec<Value>) {
    let http = json!([{"name": "http", "protocol": "TCP", "port": 80}]);
    let https = json!([{"name": "https", "port": 443}]);
    let services = vec![
        service("kubernetes", json!({"clusterIP": "10.96.0.1", "ports": https})),
        service("test-service-2", json!({"clusterIP": "10.96.0.7", "ports": http})),
        service("dns-test-service", json!({"clusterIP": "None", "ports": http})),
        service("crowd", json!({"clusterIP": "None"})),
        service(
            "alias",
            json!({"type": "ExternalName", "externalName": "test-service-2.default.svc.cluster.local"}),
        ),
    ];
    let mut host = slice("host", "dns-test-service", &["10.244.1.2"]);
    host["endpoints"][0]["hostname"] = "dns-querier-1".into();
    let crowd: Vec<_> = (0..300).map(|n| format!("10.244.{}.{}", 8 + n / 250, n % 250 + 1)).collect();
    let crowd: Vec<_> = crowd.iter().map(String::as_str).collect();
    (services, vec![host, slice("crowd-1", "crowd", &crowd)])
}

async fn server(machine: &Machine) -> Server {
    let mut server = Server::start_on(machine.sockets(), Config::of_cluster("cluster.local", &[]).unwrap());
    let (services, slices) = objects();
    server.know(&services, &slices).await;
    server
}

/// Names as the tests look them up, with their addresses.
const ADDRESSES: [(&str, &str); 9] = [
    ("kubernetes.default.svc.cluster.local", "10.96.0.1"),
    ("kubernetes.default.svc", "10.96.0.1"),
    ("kubernetes.default", "10.96.0.1"),
    ("test-service-2", "10.96.0.7"),
    ("test-service-2.default.svc", "10.96.0.7"),
    ("dns-test-service", "10.244.1.2"),
    ("dns-test-service.default", "10.244.1.2"),
    ("dns-querier-1.dns-test-service.default.svc.cluster.local", "10.244.1.2"),
    ("dns-querier-1.dns-test-service", "10.244.1.2"),
];

#[tokio::test(flavor = "multi_thread")]
async fn conformance_dig_finds_names_by_the_search_path_over_udp_and_tcp() {
    let Some(machine) = Machine::of("dig") else { return };
    let _server = server(&machine).await;
    for way in ["+notcp", "+tcp"] {
        let ask = async |question: &str| {
            machine.last_words(&format!("dig {way} +noall +answer +search {question}")).await
        };
        for (name, address) in ADDRESSES {
            assert_eq!(ask(&format!("{name} A")).await, [address], "{way} {name}");
            assert!(ask(&format!("{name} AAAA")).await.is_empty());
        }
        let target = "dns-querier-1.dns-test-service.default.svc.cluster.local.";
        assert_eq!(ask("_http._tcp.dns-test-service.default.svc SRV").await, [target]);
        let target = "test-service-2.default.svc.cluster.local.";
        assert_eq!(ask("_http._tcp.test-service-2.default.svc SRV").await, [target]);
        assert_eq!(ask("7.0.96.10.in-addr.arpa. PTR").await, [target]);
        assert!(ask("missing A").await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conformance_glibc_finds_names_by_the_search_path() {
    let Some(machine) = Machine::of("glibc").filter(|_| has("getent")) else { return };
    let _server = server(&machine).await;
    for (name, address) in ADDRESSES {
        let hosts = machine.run(&format!("getent hosts {name}")).await.unwrap_or_default();
        assert!(hosts.starts_with(address), "{name}: {hosts:?}");
    }
    let alias = machine.run("getent ahostsv4 alias").await.unwrap();
    assert!(
        alias.starts_with("10.96.0.7") && alias.contains("test-service-2.default.svc.cluster.local"),
        "{alias}"
    );
    let back = machine.last_words("getent hosts 10.96.0.7").await;
    assert_eq!(back, ["test-service-2.default.svc.cluster.local"]);
    assert_eq!(machine.run("getent hosts missing").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc7766_glibc_asks_again_over_tcp_after_a_truncated_reply() {
    let Some(machine) = Machine::of("tcp").filter(|_| has("getent")) else { return };
    let _server = server(&machine).await;
    let streams = machine.run("getent ahostsv4 crowd").await.unwrap_or_default();
    assert_eq!(streams.lines().filter(|line| line.contains("STREAM")).count(), 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn busybox_finds_names_by_the_search_path() {
    let Some(machine) = Machine::of("busybox").filter(|_| has("busybox")) else { return };
    let _server = server(&machine).await;
    for (name, address) in ADDRESSES.into_iter().filter(|(name, _)| name.contains("cluster.local")) {
        let told = machine.run(&format!("busybox nslookup -type=a {name}")).await.unwrap_or_default();
        assert!(told.contains(&format!("Address: {address}")), "{name}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drill_asks_over_udp_and_tcp() {
    if !has("drill") {
        return;
    }
    let (services, slices) = objects();
    let server = Server::with(&services, &slices, Vec::new()).await;
    let drill = async |question: &str| -> String {
        let port = server.address.port().to_string();
        let question = question.to_owned();
        let run = move || {
            let mut command = std::process::Command::new("drill");
            command.args(["-p", &port, "@127.0.0.1"]).args(question.split(' ')).output()
        };
        String::from_utf8(tokio::task::spawn_blocking(run).await.unwrap().unwrap().stdout).unwrap()
    };
    for way in ["-u", "-t"] {
        let told = drill(&format!("{way} test-service-2.default.svc.cluster.local A")).await;
        assert!(told.contains("rcode: NOERROR") && told.contains("\tA\t10.96.0.7"), "{told}");
        let told = drill(&format!("{way} _http._tcp.dns-test-service.default.svc.cluster.local SRV")).await;
        assert!(told.contains("SRV\t0 100 80 dns-querier-1.dns-test-service."), "{told}");
        assert!(
            drill(&format!("{way} missing.default.svc.cluster.local A")).await.contains("rcode: NXDOMAIN")
        );
    }
    // drill does not ask again over TCP.
    assert!(drill("-u crowd.default.svc.cluster.local A").await.contains(" tc "));
}

#[tokio::test(flavor = "multi_thread")]
async fn draft_0x20_replies_keep_the_case_of_the_question() {
    let (services, slices) = objects();
    let server = Server::with(&services, &slices, Vec::new()).await;
    for name in
        ["TeSt-SeRvIcE-2.dEfAuLt.SVC.cluster.LOCAL.", "_HtTp._TCP.test-SERVICE-2.default.svc.Cluster.local."]
    {
        let told = server.dig(&format!("+noall +question +answer {name} ANY +notcp")).await;
        assert_eq!(told.matches(name).count(), 2, "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc8482_any_is_one_small_record_over_udp_and_tcp() {
    let (services, slices) = objects();
    let server = Server::with(&services, &slices, Vec::new()).await;
    for way in ["+notcp", "+tcp"] {
        assert_eq!(
            server.short(&format!("{way} crowd.default.svc.cluster.local ANY")).await,
            ["\"RFC8482\" \"\""]
        );
    }
}

/// A resolver that asks for both families takes NXDOMAIN for either as the end of the name.
#[tokio::test(flavor = "multi_thread")]
async fn rfc8020_a_name_has_one_response_code_for_every_type() {
    let (services, slices) = objects();
    let server = Server::with(&services, &slices, Vec::new()).await;
    for (name, status) in [
        ("test-service-2.default.svc.cluster.local", "NOERROR"),
        ("dns-test-service.default.svc.cluster.local", "NOERROR"),
        ("default.svc.cluster.local", "NOERROR"),
        ("_tcp.test-service-2.default.svc.cluster.local", "NOERROR"),
        ("7.0.96.10.in-addr.arpa", "NOERROR"),
        ("missing.default.svc.cluster.local", "NXDOMAIN"),
    ] {
        for kind in ["A", "AAAA", "SRV", "TXT", "PTR", "SOA", "HTTPS"] {
            let told = server.dig(&format!("{name} {kind}")).await;
            assert!(told.contains(&format!("status: {status}")), "{name} {kind}: {told}");
        }
    }
}

/// `autopath`: the first lookup of a search carries the answer of the last, and so for both families.
#[tokio::test(flavor = "multi_thread")]
async fn coredns_autopath_ends_a_search_with_its_first_lookup() {
    let Some(machine) = Machine::of("autopath") else { return };
    let corefile = ".:53 {\nautopath @kubernetes\nkubernetes cluster.local {\npods verified\n}\n}\n";
    let config = Config::from_corefile(corefile, std::path::Path::new("/")).unwrap();
    let mut server = Server::start_on(machine.sockets(), config);
    let pod = json!({
        "metadata": {"name": "client", "namespace": "default"}, "spec": {"containers": []},
        "status": {"phase": "Running", "podIPs": [{"ip": "127.0.0.1"}]},
    });
    server.feed(Input::Pod(Event::Apply(serde_json::from_value(pod).unwrap())));
    server.feed(Input::Pod(Event::Synced));
    let (services, slices) = objects();
    server.know(&services, &slices).await;
    let name = "test-service-2.default.default.svc.cluster.local.";
    let told = machine.run(&format!("dig +noall +answer {name} A")).await.unwrap();
    let words: Vec<_> = told.split_whitespace().collect();
    let alias = [name, "5", "IN", "CNAME", "test-service-2.default.svc.cluster.local."];
    assert_eq!((&words[..5], words.last()), (&alias[..], Some(&"10.96.0.7")));
    for kind in ["AAAA", "TXT", "HTTPS"] {
        let told = machine.run(&format!("dig {name} {kind}")).await.unwrap();
        assert!(told.contains("status: NOERROR") && told.contains("ANSWER: 0"), "{kind}: {told}");
    }
}
