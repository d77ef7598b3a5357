//! A pod's sandbox in the CRI's words.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::{dns, hosts, names, security};
use crate::{Config, cri::messages::*};

/// The configuration of a pod's sandbox. `machine_dns` is the machine's own resolv.conf.
pub(super) fn config(pod: &Pod, config: &Config, attempt: u32, machine_dns: &DnsConfig) -> PodSandboxConfig {
    let (namespace, name, uid) = (pod.namespace().unwrap_or_default(), pod.name_any(), names::uid(pod));
    // One that is too long has kept the sandbox from being made.
    let hostname = hosts::kernel_name(pod, &config.cluster_domain).unwrap_or_default();
    let host_network = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
    PodSandboxConfig {
        log_directory: names::log_dir(config, &namespace, &name, &uid).display().to_string(),
        metadata: Some(PodSandboxMetadata { name, uid, namespace, attempt }),
        // On the node's network the pod has the node's name.
        hostname: if host_network { String::new() } else { hostname },
        dns_config: Some(dns::dns_config(pod, config, machine_dns)),
        labels: names::labels(pod),
        annotations: pod.metadata.annotations.clone().unwrap_or_default(),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: config.cgroup_parent.clone(),
            security_context: Some(security::sandbox(pod)),
            sysctls: security::sysctls(pod),
            ..Default::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::tests::config as node;

    #[test]
    fn a_sandbox_is_found_again_by_its_pods_uid() {
        let metadata = json!({"name": "p", "namespace": "ns", "uid": "u"});
        let pod: Pod =
            serde_json::from_value(json!({"metadata": metadata, "spec": {"containers": []}})).unwrap();
        let sandbox = config(&pod, &node("/d"), 2, &DnsConfig::default());
        assert_eq!(sandbox.labels[names::POD_UID], "u");
        assert_eq!(sandbox.log_directory, "/d/pods/ns_p_u");
        assert_eq!((sandbox.hostname.as_str(), sandbox.metadata.unwrap().attempt), ("p", 2));
    }
}
