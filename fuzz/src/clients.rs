//! What clients of the DNS server send.

use std::sync::OnceLock;

use dns::fuzz::{Server, records};
use hickory_proto::op::Message;

/// A block that has a part of everything that answers by itself.
const COREFILE: &str = "
.:53 {
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods verified
        fallthrough
        endpoint_pod_names
    }
    autopath @kubernetes
    transfer {
        to *
    }
    rewrite stop name suffix .rewritten.example .default.svc.cluster.local answer auto
    template IN A template.example {
        answer \"{{ .Name }} 60 IN A 192.0.2.9\"
    }
    hosts {
        192.0.2.1 host.example other.example
        2001:db8::1 host.example
        fallthrough
    }
    bufsize 1232
    loadbalance round_robin
}
";

const MANIFEST: &str = "
{kind: Namespace, metadata: {name: default}}
---
{kind: Namespace, metadata: {name: empty}}
---
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7, 'fd00::7'], ports: [{name: http, port: 80}, {port: 81, protocol: UDP}]}
---
kind: Service
metadata: {name: db}
spec: {clusterIP: None, ports: [{name: sql, port: 5432}]}
---
kind: EndpointSlice
metadata: {name: db-1, labels: {kubernetes.io/service-name: db, service.kubernetes.io/headless: ''}}
addressType: IPv4
ports: [{name: sql, port: 5432}]
endpoints:
- {addresses: [10.244.1.3], hostname: db-0}
- {addresses: [10.244.1.4], targetRef: {kind: Pod, name: db-x, namespace: default}}
- {addresses: [10.244.1.5]}
---
kind: Service
metadata: {name: out}
spec: {type: ExternalName, externalName: db-0.db.default.svc.cluster.local}
---
kind: Service
metadata: {name: far}
spec: {type: ExternalName, externalName: host.example}
---
kind: Pod
metadata: {name: client}
status: {podIP: 10.244.1.9, podIPs: [{ip: 10.244.1.9}]}
";

/// The most bytes of a reply over UDP, unless less was asked for.
const LARGEST_UDP: usize = 1232;

/// A packet, after a byte of which the lowest bit tells that it came on a connection.
pub(crate) fn query(data: &[u8]) {
    thread_local! {
        static SERVER: OnceLock<Server> = const { OnceLock::new() };
    }
    let Some((first, packet)) = data.split_first() else { return };
    let tcp = first & 1 == 1;
    let reply =
        SERVER.with(|server| server.get_or_init(|| Server::new(COREFILE, MANIFEST)).reply(packet, tcp));
    let Some(reply) = reply else { return };
    assert!(tcp || reply.len() <= LARGEST_UDP, "{} bytes over UDP", reply.len());
    assert_eq!(reply[..2], packet[..2], "the id");
    assert_eq!(reply[2] & 0x80, 0x80, "it is a reply");
    // Opcodes but QUERY are answered without records.
    if reply[2] & 0x78 == 0 {
        assert!(records(&reply).is_some(), "our own reader reads it: {reply:x?}");
    }
    if let Err(error) = Message::from_vec(&reply) {
        panic!("others cannot read {reply:x?}: {error}");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    let questions = [
        ("web.default.svc.cluster.local", 1),
        ("WEB.default.svc.cluster.local", 28),
        ("web.default.svc.cluster.local.default.svc.cluster.local", 1),
        ("_http._tcp.web.default.svc.cluster.local", 33),
        ("_sql._tcp.db.default.svc.cluster.local", 33),
        ("db.default.svc.cluster.local", 1),
        ("db-0.db.default.svc.cluster.local", 28),
        ("10-244-1-5.db.default.svc.cluster.local", 1),
        ("out.default.svc.cluster.local", 28),
        ("far.default.svc.cluster.local", 5),
        ("empty.svc.cluster.local", 1),
        ("10-244-1-9.default.pod.cluster.local", 1),
        ("cluster.local", 6),
        ("cluster.local", 2),
        ("cluster.local", 252),
        ("dns-version.cluster.local", 16),
        ("7.0.96.10.in-addr.arpa", 12),
        ("3.1.244.10.in-addr.arpa", 12),
        ("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa", 12),
        ("web.rewritten.example", 1),
        ("template.example", 1),
        ("host.example", 255),
        (longest.as_str(), 1),
        ("", 2),
    ];
    let packets = questions.iter().flat_map(|(name, kind)| {
        let plain = packet(name, *kind);
        let mut with_edns = plain.clone();
        with_edns[11] = 1;
        // EDNS of 4096 bytes with DO and a cookie of eight bytes (RFC 6891, 7873).
        with_edns
            .extend_from_slice(&[0, 0, 41, 16, 0, 0, 0, 0x80, 0, 0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
        [plain, with_edns]
    });
    packets.enumerate().map(|(number, packet)| [vec![(number / 2 % 2) as u8], packet].concat()).collect()
}

/// A query without EDNS.
pub(crate) fn packet(name: &str, kind: u16) -> Vec<u8> {
    let mut packet = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.extend_from_slice(&[0, (kind >> 8) as u8, kind as u8, 0, 1]);
    packet
}
