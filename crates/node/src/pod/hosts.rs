//! A pod's host name and /etc/hosts.

use std::{fmt::Write, net::IpAddr};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

/// The longest host name the kernel takes, in bytes (`__NEW_UTS_LEN`), less one as Kubernetes has it.
const MAX_HOSTNAME: usize = 63;

/// The pod's host name: `spec.hostname`, or its name, cut to what the kernel takes.
pub(super) fn hostname(pod: &Pod) -> String {
    let name = pod.spec.as_ref().and_then(|spec| spec.hostname.clone()).filter(|name| !name.is_empty());
    let mut name = name.unwrap_or_else(|| pod.name_any());
    name.truncate(MAX_HOSTNAME);
    name.trim_end_matches(['-', '.']).to_owned()
}

/// The fully qualified name of a pod with `spec.subdomain`: `<hostname>.<subdomain>.<ns>.svc.<domain>`.
fn qualified(pod: &Pod, cluster_domain: &str) -> Option<String> {
    let subdomain = pod.spec.as_ref()?.subdomain.as_ref().filter(|name| !name.is_empty())?;
    let namespace = pod.namespace().unwrap_or_default();
    Some(format!("{}.{subdomain}.{namespace}.svc.{cluster_domain}", hostname(pod)))
}

/// The contents of /etc/hosts for a pod with these addresses, with its hostAliases at the end.
pub(super) fn hosts_file(pod: &Pod, addresses: &[IpAddr], cluster_domain: &str) -> String {
    let mut text = String::from(
        "# Written by the node for this pod.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         fe00::\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    for address in addresses {
        let name = hostname(pod);
        match qualified(pod, cluster_domain) {
            Some(full) => _ = writeln!(text, "{address}\t{full}\t{name}"),
            None => _ = writeln!(text, "{address}\t{name}"),
        }
    }
    let aliases = pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten());
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        _ = writeln!(text, "{}\t{names}", alias.ip);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_with_subdomain_finds_its_full_name_and_its_aliases() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web-0", "namespace": "shop"},
            "spec": {"containers": [], "hostname": "w", "subdomain": "web",
                     "hostAliases": [{"ip": "192.0.2.9", "hostnames": ["a", "b"]}]},
        }))
        .unwrap();
        let text = hosts_file(&pod, &[[10, 0, 0, 2].into()], "cluster.local");
        assert!(text.contains("\n10.0.0.2\tw.web.shop.svc.cluster.local\tw\n"), "{text}");
        assert!(text.ends_with("192.0.2.9\ta\tb\n"), "{text}");
    }

    #[test]
    fn a_long_name_is_cut_to_a_valid_host_name() {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": format!("{}-{}", "a".repeat(62), "b")}}))
                .unwrap();
        assert_eq!(hostname(&pod), "a".repeat(62));
    }
}
