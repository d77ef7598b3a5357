//! A pod's resolv.conf, by its dnsPolicy and dnsConfig.

use k8s_openapi::api::core::v1::Pod;

use crate::{Config, cri::messages::DnsConfig};

/// More name servers than this are not used by resolvers (resolv.conf(5)).
const MAX_SERVERS: usize = 3;
/// More search domains than this, or longer in total, are cut off, as Kubernetes does.
const MAX_SEARCHES: usize = 32;
/// Characters of all search domains with the spaces between them.
const MAX_SEARCH_CHARACTERS: usize = 2048;

/// Reads a resolv.conf (resolv.conf(5)): the machine's own.
pub(crate) fn parse(text: &str) -> DnsConfig {
    let mut dns = DnsConfig::default();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => dns.servers.extend(words.next().map(str::to_owned)),
            // The last search line counts; a lone dot means none.
            Some("search" | "domain") => {
                dns.searches = words.filter(|&word| word != ".").map(str::to_owned).collect();
            }
            Some("options") => dns.options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    dns
}

/// The name servers, search domains and options of a pod.
///
/// `ClusterFirst` asks the cluster's DNS with `ndots:5` and the search domains `<ns>.svc.<domain>`,
/// `svc.<domain>`, `<domain>` before the machine's own; on a hostNetwork pod it means `Default`, which takes
/// everything from the machine. `None` begins empty. `dnsConfig` is merged in last.
pub(super) fn dns_config(pod: &Pod, config: &Config, machine: &DnsConfig) -> DnsConfig {
    let Some(spec) = &pod.spec else { return DnsConfig::default() };
    let host_network = spec.host_network.unwrap_or_default();
    let cluster = || {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        let domain = &config.cluster_domain;
        let own = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
        DnsConfig {
            servers: config.cluster_dns.iter().map(ToString::to_string).collect(),
            searches: own.into_iter().chain(machine.searches.iter().cloned()).collect(),
            options: vec!["ndots:5".into()],
        }
    };
    let mut dns = match spec.dns_policy.as_deref().unwrap_or("ClusterFirst") {
        "None" => DnsConfig::default(),
        "ClusterFirstWithHostNet" if !config.cluster_dns.is_empty() => cluster(),
        "ClusterFirst" if !host_network && !config.cluster_dns.is_empty() => cluster(),
        _ => machine.clone(),
    };
    if let Some(own) = &spec.dns_config {
        dns.servers.extend(own.nameservers.iter().flatten().cloned());
        dns.searches.extend(own.searches.iter().flatten().cloned());
        for option in own.options.iter().flatten() {
            let name = option.name.as_deref().unwrap_or_default();
            dns.options.retain(|old| old.split(':').next() != Some(name));
            dns.options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name.to_owned(),
            });
        }
    }
    limit(dns)
}

fn limit(mut dns: DnsConfig) -> DnsConfig {
    let mut seen = std::collections::BTreeSet::new();
    dns.searches.retain(|domain| seen.insert(domain.clone()));
    let mut seen = std::collections::BTreeSet::new();
    dns.servers.retain(|server| seen.insert(server.clone()));
    dns.servers.truncate(MAX_SERVERS);
    dns.searches.truncate(MAX_SEARCHES);
    let mut length = 0;
    dns.searches.retain(|domain| {
        length += domain.len() + 1;
        length <= MAX_SEARCH_CHARACTERS + 1
    });
    dns
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::tests::config;

    fn machine() -> DnsConfig {
        parse("# mine\nnameserver 192.0.2.53\nsearch example.org\noptions edns0\n")
    }

    fn pod(spec: serde_json::Value) -> Pod {
        let mut pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "shop"}})).unwrap();
        pod.spec = serde_json::from_value(spec).unwrap();
        pod
    }

    #[test]
    fn cluster_first_searches_the_pods_namespace_first_with_ndots_5() {
        let dns = dns_config(&pod(json!({"containers": []})), &config("/d"), &machine());
        assert_eq!(dns.servers, ["10.96.0.10"]);
        assert_eq!(
            dns.searches,
            ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.org"]
        );
        assert_eq!(dns.options, ["ndots:5"]);
    }

    #[test]
    fn cluster_first_on_the_hosts_network_means_default() {
        let host = pod(json!({"containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirst"}));
        assert_eq!(dns_config(&host, &config("/d"), &machine()), machine());
        let with =
            pod(json!({"containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}));
        assert_eq!(dns_config(&with, &config("/d"), &machine()).servers, ["10.96.0.10"]);
    }

    #[test]
    fn dns_config_is_merged_and_its_options_win() {
        let own = json!({"nameservers": ["192.0.2.1"], "searches": ["a.example"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}]});
        let none = pod(json!({"containers": [], "dnsPolicy": "None", "dnsConfig": own}));
        let dns = dns_config(&none, &config("/d"), &machine());
        assert_eq!((dns.servers, dns.searches), (vec!["192.0.2.1".into()], vec!["a.example".into()]));
        let first =
            pod(json!({"containers": [], "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}}));
        assert_eq!(dns_config(&first, &config("/d"), &machine()).options, ["ndots:2"]);
    }

    #[test]
    fn no_more_than_three_name_servers_and_32_search_domains_are_used() {
        let many: Vec<String> = (0..40).map(|n| format!("d{n}.example")).collect();
        let own = json!({"nameservers": ["192.0.2.1", "192.0.2.2", "192.0.2.3"], "searches": many});
        let dns = dns_config(&pod(json!({"containers": [], "dnsConfig": own})), &config("/d"), &machine());
        assert_eq!((dns.servers.len(), dns.searches.len()), (3, 32));
    }
}
