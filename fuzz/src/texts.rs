//! Texts that operators write.

use std::path::Path;
use std::time::{Instant, SystemTime};

use api::seconds::Seconds;
use service::manifest::Objects;

/// A Corefile: an error that names its place, or a configuration.
pub(crate) fn corefile(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Files of the machine are not the fuzzer's.
    if text.contains("import") {
        return;
    }
    match dns::Config::from_corefile(text, Path::new("/nonexistent")) {
        Ok(config) => drop(format!("{config:?}")),
        Err(fault) => assert!(!fault.to_string().is_empty()),
    }
}

pub(crate) fn corefiles() -> Vec<Vec<u8>> {
    let kubeadm = ".:53 {\n errors\n health {\n lameduck 5s\n }\n ready\n kubernetes cluster.local in-addr.arpa \
                   ip6.arpa {\n pods insecure\n fallthrough in-addr.arpa ip6.arpa\n ttl 30\n }\n prometheus :9153\n \
                   forward . 192.0.2.53 tls://192.0.2.54 {\n max_concurrent 1000\n tls_servername dns.example\n \
                   health_check 1s\n policy sequential\n }\n cache 30 {\n disable success cluster.local\n prefetch 5 \
                   10m 10%\n serve_stale 1h immediate\n denial 100 5\n }\n loop\n reload 10s 2s\n loadbalance\n}\n";
    let rules = "(snip) {\n log . {combined} {\n class denial error\n }\n}\nexample.org:5353 tls://a.example {\n bind \
                 127.0.0.1\n rewrite {\n name regex (.*)\\.a {1}.b\n answer auto\n }\n rewrite continue ttl exact x 5-30\n \
                 template ANY AAAA a.b {\n match \"^x(?P<n>[0-9]+)\"\n answer \"{{ .Name }} 60 IN AAAA ::{{ .Group.n }}\"\n \
                 rcode NXDOMAIN\n fallthrough\n }\n hosts /dev/null {\n 192.0.2.1 a b # c\n ttl 60\n no_reverse\n }\n \
                 autopath @kubernetes\n acl {\n }\n}\n";
    [kubeadm, rules].map(|text| text.as_bytes().to_vec()).into()
}

/// Kubernetes objects as YAML or JSON: an error, or objects.
pub(crate) fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut objects = Objects::default();
    match objects.read(text) {
        Ok(()) => drop(objects.finish()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

pub(crate) fn manifests() -> Vec<Vec<u8>> {
    let yaml = "kind: Service\nmetadata: {name: web, labels: {a: b}}\nspec: {clusterIP: 10.96.0.7, type: NodePort, \
                externalTrafficPolicy: Local, ports: [{name: http, port: 80, nodePort: 30080, targetPort: web}]}\n---\n\
                kind: Endpoints\nmetadata: {name: web}\nsubsets:\n- addresses: [{ip: 192.0.2.9, nodeName: n}]\n  ports: \
                [{port: 8080, name: http}]\n---\nkind: Node\nmetadata: {name: n}\nstatus: {addresses: [{type: \
                InternalIP, address: 192.0.2.1}]}\nspec: {podCIDRs: [10.244.0.0/24]}\n";
    let json = r#"{"kind":"List","items":[{"kind":"EndpointSlice","metadata":{"name":"w","namespace":"d","labels":
        {"kubernetes.io/service-name":"web"}},"addressType":"IPv6","ports":[{"name":"http","port":80}],"endpoints":
        [{"addresses":["2001:db8::1"],"conditions":{"ready":true,"serving":true,"terminating":false},"zone":"a",
        "hints":{"forZones":[{"name":"a"}]}}]},{"kind":"ServiceCIDR","metadata":{"name":"k"},"spec":{"cidrs":
        ["10.96.0.0/16"]}}]}"#;
    [yaml, json].map(|text| text.as_bytes().to_vec()).into()
}

/// A number of seconds: what it is as 64 bits, or that it is none; every clock can add it.
pub(crate) fn seconds(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = Seconds::parse(text);
    if let Ok(number) = text.parse::<i64>() {
        assert_eq!(read, Some(Seconds::from(number)), "{text:?}");
    }
    if let Some(seconds) = read {
        assert!(seconds <= Seconds::MAX);
        assert!(Instant::now().checked_add(seconds.duration()).is_some(), "{text:?}");
        assert!(SystemTime::now().checked_add(seconds.duration()).is_some(), "{text:?}");
        assert_eq!(Seconds::parse(&seconds.get().to_string()), Some(seconds));
    }
}

pub(crate) fn numbers() -> Vec<Vec<u8>> {
    let texts = [
        "0",
        "-1",
        "+60",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "1e9",
        "007",
    ];
    texts.map(|text| text.as_bytes().to_vec()).into()
}
