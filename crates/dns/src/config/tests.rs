//! Corefiles of other projects are read, and errors are reported with their line.

use super::*;
use crate::plugin::autopath::SearchPath;
use crate::plugin::forward::{Policy, UpstreamAddress, UpstreamOption};
use crate::plugin::kubernetes::PodRecords;
use crate::plugin::rewrite::{Change, NameMatch};

fn read(text: &str) -> Config {
    Config::from_corefile(text, Path::new("/")).unwrap()
}

fn plugins(text: &str) -> Plugins {
    read(&format!(". {{\n{text}\n}}")).blocks.swap_remove(0).plugins
}

fn fault(text: &str) -> Fault {
    Config::from_corefile(text, Path::new("/")).unwrap_err()
}

/// The Corefile that kubeadm writes.
const KUBEADM: &str = "
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . 192.0.2.53 {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
";

#[test]
fn the_corefile_of_kubeadm_is_read() {
    let config = read(KUBEADM);
    assert_eq!(config.warnings, [""; 0]);
    let [block] = &config.blocks[..] else { panic!("one block") };
    let plugins = &block.plugins;
    let kubernetes = plugins.kubernetes.as_ref().unwrap();
    assert_eq!((kubernetes.zones.len(), kubernetes.ttl, kubernetes.pods), (3, 30, PodRecords::Insecure));
    assert_eq!(kubernetes.fall_through.as_ref().unwrap().len(), 2);
    assert_eq!(plugins.forward[0].max_concurrent, Some(1000));
    assert_eq!(plugins.cache.as_ref().unwrap().success.longest.as_secs(), 30);
    assert_eq!(plugins.cache.as_ref().unwrap().denial.disabled[0].to_string(), "cluster.local.");
    assert_eq!(plugins.health.as_ref().unwrap().lame_duck.as_secs(), 5);
    assert_eq!(plugins.metrics.unwrap().to_string(), "[::]:9153");
    assert!(plugins.detect_loops && plugins.balance && plugins.errors && plugins.ready.is_some());
    assert_eq!(plugins.reload.unwrap().as_secs(), 30);
}

#[test]
fn the_corefile_of_k3s_is_read() {
    let text = "
.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
      pods insecure
      fallthrough in-addr.arpa ip6.arpa
    }
    hosts /etc/coredns/NodeHosts {
      ttl 60
      reload 15s
      fallthrough
    }
    prometheus :9153
    cache 30
    loop
    reload
    loadbalance
    import /nonexistent/custom/*.override
    forward . 192.0.2.1
}
import /nonexistent/custom/*.server
";
    let plugins = &read(text).blocks[0].plugins;
    let hosts = plugins.hosts.as_ref().unwrap();
    assert_eq!((hosts.ttl, hosts.reload.as_secs()), (60, 15));
    assert!(hosts.fall_through.is_some());
}

#[test]
fn the_corefile_of_nodelocal_dnscache_is_read() {
    let text = "
cluster.local:53 {
    errors
    cache {
            success 9984 30
            denial 9984 5
    }
    reload
    loop
    bind 169.254.20.10 10.96.0.10
    forward . 10.96.0.11 {
            force_tcp
    }
    prometheus :9253
    health 169.254.20.10:8080
}
.:53 {
    errors
    cache 30
    reload
    loop
    bind 169.254.20.10 10.96.0.10
    forward . 192.0.2.53
    prometheus :9253
}
";
    let config = read(text);
    assert_eq!(config.blocks[0].plugins.bind.addresses.len(), 2);
    assert!(config.blocks[0].plugins.forward[0].force_tcp);
    assert_eq!(config.blocks[0].plugins.cache.as_ref().unwrap().denial.longest.as_secs(), 5);
}

#[test]
fn upstreams_are_addresses_files_and_names_under_tls() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "forward . 192.0.2.1 [2001:db8::1]:5353 tls://9.9.9.9%dns.example:8853 {} https://192.0.2.2/dns-query {{\n policy sequential\n health_check 1s no_rec domain a.example\n}}",
        file.path().display()
    );
    let forward = &plugins(&text).forward[0];
    assert_eq!(forward.policy, Policy::Sequential);
    assert!(!forward.health_check.recursion && forward.health_check.name.to_string() == "a.example.");
    let socket = |text: &str| UpstreamAddress::Socket(text.parse().unwrap());
    assert_eq!(
        forward.to,
        [
            UpstreamOption::Plain(socket("192.0.2.1:53")),
            UpstreamOption::Plain(socket("[2001:db8::1]:5353")),
            UpstreamOption::Tls(socket("9.9.9.9:8853"), Some("dns.example".into())),
            UpstreamOption::Plain(UpstreamAddress::File(file.path().to_owned())),
            UpstreamOption::Https(socket("192.0.2.2:443"), None),
        ]
    );
}

#[test]
fn rules_about_names_are_read() {
    let plugins = plugins(
        "rewrite name exact a.example b.example\n\
         rewrite continue {\n name regex (.*)\\.x\\. {1}.y.\n answer name (.*)\\.y\\. {1}.x.\n}\n\
         rewrite ttl suffix .example. 10-60\n rewrite type ANY HINFO\n\
         template IN A example.org {\n match \"^ip-(?P<a>[0-9]*)[.]\"\n answer \"{{ .Name }} 60 IN A 10.0.0.{{ .Group.a }}\"\n fallthrough\n}\n\
         autopath @kubernetes",
    );
    let kinds: Vec<_> = plugins.rewrite.iter().map(|rule| &rule.change).collect();
    assert!(
        matches!(kinds[0], Change::Name { matches: NameMatch::Exact(name), answers, .. } if name == "a.example." && answers.len() == 1)
    );
    assert!(
        matches!(kinds[1], Change::Name { matches: NameMatch::Regex(_), answers, .. } if answers.len() == 1)
    );
    assert!(matches!(kinds[2], Change::Ttl { least: 10, most: 60, .. }));
    assert!(matches!(kinds[3], Change::Type { from: 255, to: 13 }));
    assert_eq!(plugins.template[0].matches.len(), 1);
    assert_eq!(plugins.autopath.unwrap().search, SearchPath::Pods);
}

#[test]
fn keys_that_need_a_certificate_have_one() {
    assert!(fault("tls://. {\n forward . 192.0.2.1\n}").text.contains("add `tls CERT KEY`"));
    let config = read("tls://.:853 https://. {\n tls cert.pem key.pem\n}");
    assert_eq!(config.blocks[0].served[1].scheme, Scheme::Https);
}

#[test]
fn errors_are_reported_with_their_line() {
    for (text, line, part) in [
        (".:53 {\n errors\n kubernets\n}", 3, "there is no directive \"kubernets\""),
        (".:53 {\n kubernetes {\n  pods sometimes\n }\n}", 3, "disabled, insecure or verified"),
        (".:53 {\n kubernetes {\n  pots insecure\n }\n}", 3, "no option \"pots\""),
        (".:53 {\n forward .\n}", 2, "upstreams"),
        (".:53 {\n forward . nowhere\n}", 2, "neither an address nor a file"),
        (".:53 {\n cache 0\n}", 2, "of no use"),
        (".:53 {\n health {\n  lameduck soon\n }\n}", 3, "no duration"),
        (".:53 {\n template IN A {\n  match (\n }\n}", 3, "pattern"),
        (".:53 {\n rewrite\n}", 2, "write `rewrite"),
        (".:53 {\n kubernetes {\n  ttl 3601\n }\n}", 3, "0 to 3600"),
        (".:53 {\n log\n}\n.:53 {\n log\n}", 4, "already served by the block of line 1"),
        (".:99999 {\n}", 1, "no port"),
        ("{\n errors\n}", 1, "no zone"),
        ("", 1, "no server block"),
    ] {
        let fault = fault(text);
        assert_eq!(fault.line, line, "{text:?}: {fault}");
        assert!(fault.text.contains(part), "{text:?}: {fault}");
    }
}
