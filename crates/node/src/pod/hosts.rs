//! A pod's host name and /etc/hosts.

use std::{fmt::Write, net::IpAddr};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

/// The longest host name the kernel takes, in bytes (`__NEW_UTS_LEN`), less one as Kubernetes has it.
const MAX_HOSTNAME: usize = 63;

/// A longer name in full is no host name (KEP-1797), in bytes.
const MAX_FULL_HOSTNAME: usize = 64;

/// The name that the pod's kernel tells: [`hostname`], or with `setHostnameAsFQDN` that in full. The error is a
/// sentence, as the kubelet has it.
pub(super) fn kernel_name(pod: &Pod, cluster_domain: &str) -> Result<String, String> {
    let wants_full = pod.spec.as_ref().is_some_and(|spec| spec.set_hostname_as_fqdn == Some(true));
    match qualified(pod, cluster_domain).filter(|_| wants_full) {
        Some(full) if full.len() > MAX_FULL_HOSTNAME => Err(format!(
            "Failed to construct FQDN from Pod hostname and cluster domain, FQDN {full} is too long \
             ({MAX_FULL_HOSTNAME} characters is the max, {} characters requested)",
            full.len()
        )),
        Some(full) => Ok(full),
        None => Ok(hostname(pod)),
    }
}

fn hostname_override(pod: &Pod) -> Option<&String> {
    pod.spec.as_ref()?.hostname_override.as_ref().filter(|name| !name.is_empty())
}

/// The pod's host name: `spec.hostnameOverride` (KEP-4762), `spec.hostname`, or its name cut to what the kernel takes.
pub(super) fn hostname(pod: &Pod) -> String {
    if let Some(name) = hostname_override(pod) {
        return name.clone();
    }
    let name = pod.spec.as_ref().and_then(|spec| spec.hostname.clone()).filter(|name| !name.is_empty());
    let mut name = name.unwrap_or_else(|| pod.name_any());
    name.truncate(MAX_HOSTNAME);
    name.trim_end_matches(['-', '.']).to_owned()
}

/// The fully qualified name of a pod with `spec.subdomain`: `<hostname>.<subdomain>.<ns>.svc.<domain>`.
/// A name that overrides has no other form.
fn qualified(pod: &Pod, cluster_domain: &str) -> Option<String> {
    if hostname_override(pod).is_some() {
        return None;
    }
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
    fn the_kernel_tells_the_full_name_or_the_override_on_demand() {
        let name = |spec: serde_json::Value| {
            let mut spec = spec;
            spec["containers"] = json!([]);
            let pod = json!({"metadata": {"name": "web-0", "namespace": "shop"}, "spec": spec});
            kernel_name(&serde_json::from_value(pod).unwrap(), "cluster.local")
        };
        assert_eq!(name(json!({"subdomain": "web"})).unwrap(), "web-0");
        let full = name(json!({"subdomain": "web", "setHostnameAsFQDN": true}));
        assert_eq!(full.unwrap(), "web-0.web.shop.svc.cluster.local");
        assert_eq!(
            name(json!({"setHostnameAsFQDN": true})).unwrap(),
            "web-0",
            "without subdomain there is none"
        );
        let long = name(json!({"subdomain": "w".repeat(50), "setHostnameAsFQDN": true})).unwrap_err();
        assert!(long.ends_with("(64 characters is the max, 79 characters requested)"), "{long}");
        assert_eq!(
            name(json!({"subdomain": "web", "hostnameOverride": "db.example.org"})).unwrap(),
            "db.example.org"
        );
    }

    #[test]
    fn a_long_name_is_cut_to_a_valid_host_name() {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": format!("{}-{}", "a".repeat(62), "b")}}))
                .unwrap();
        assert_eq!(hostname(&pod), "a".repeat(62));
    }
}
