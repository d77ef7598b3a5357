//! Security contexts of pods and containers, in the CRI's words.

use k8s_openapi::api::core::v1::{Capabilities, Container, Pod, SeccompProfile, SecurityContext};

use crate::cri::messages::*;

/// Which namespaces the pod's containers share, and with whom.
pub(super) fn namespaces(pod: &Pod) -> NamespaceOption {
    let Some(spec) = &pod.spec else { return NamespaceOption::default() };
    let node_or =
        |host: Option<bool>, otherwise| if host == Some(true) { NamespaceMode::Node } else { otherwise };
    let pid = match spec.share_process_namespace {
        Some(true) => NamespaceMode::Pod,
        _ => NamespaceMode::Container,
    };
    NamespaceOption {
        network: node_or(spec.host_network, NamespaceMode::Pod).into(),
        pid: node_or(spec.host_pid, pid).into(),
        ipc: node_or(spec.host_ipc, NamespaceMode::Pod).into(),
        target_id: String::new(),
    }
}

/// The sandbox's security context. It is privileged when any container is, as the CRI demands.
pub(super) fn sandbox(pod: &Pod) -> LinuxSandboxSecurityContext {
    let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let containers =
        pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let mut contexts = containers.filter_map(|container| container.security_context.as_ref());
    LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod)),
        privileged: contexts.any(|context| context.privileged == Some(true)),
        supplemental_groups: supplemental_groups(pod),
        seccomp: Some(seccomp(context.and_then(|context| context.seccomp_profile.as_ref()))),
        ..Default::default()
    }
}

/// Kernel parameters that the pod sets for its namespaces.
pub(super) fn sysctls(pod: &Pod) -> std::collections::BTreeMap<String, String> {
    let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let sysctls = context.iter().flat_map(|context| context.sysctls.iter().flatten());
    sysctls.map(|sysctl| (sysctl.name.clone(), sysctl.value.clone())).collect()
}

/// A container's security context; what it leaves open comes from the pod's.
pub(super) fn container(pod: &Pod, container: &Container) -> LinuxContainerSecurityContext {
    let of_pod = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let none = SecurityContext::default();
    let own = container.security_context.as_ref().unwrap_or(&none);
    let int = |value: Option<i64>| value.map(|value| Int64Value { value });
    let privileged = own.privileged == Some(true);
    let profile =
        own.seccomp_profile.as_ref().or(of_pod.and_then(|context| context.seccomp_profile.as_ref()));
    let (masked_paths, readonly_paths) = match (privileged, own.proc_mount.as_deref()) {
        (true, _) | (_, Some("Unmasked")) => (vec![], vec![]),
        _ => (MASKED.map(String::from).into(), READ_ONLY.map(String::from).into()),
    };
    LinuxContainerSecurityContext {
        capabilities: own.capabilities.as_ref().map(capabilities),
        privileged,
        namespace_options: Some(namespaces(pod)),
        run_as_user: int(own.run_as_user.or(of_pod.and_then(|context| context.run_as_user))),
        run_as_group: int(own.run_as_group.or(of_pod.and_then(|context| context.run_as_group))),
        readonly_rootfs: own.read_only_root_filesystem == Some(true),
        supplemental_groups: supplemental_groups(pod),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths,
        readonly_paths,
        seccomp: Some(seccomp(profile)),
        ..Default::default()
    }
}

/// Paths that containers do not see, as container engines have them.
const MASKED: [&str; 10] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
];

/// Paths that containers only read.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn supplemental_groups(pod: &Pod) -> Vec<i64> {
    let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let groups = context.iter().flat_map(|context| context.supplemental_groups.iter().flatten().copied());
    groups.chain(context.and_then(|context| context.fs_group)).collect()
}

fn capabilities(capabilities: &Capabilities) -> Capability {
    let list = |names: &Option<Vec<String>>| names.clone().unwrap_or_default();
    Capability {
        add_capabilities: list(&capabilities.add),
        drop_capabilities: list(&capabilities.drop),
        add_ambient_capabilities: vec![],
    }
}

fn seccomp(profile: Option<&SeccompProfile>) -> SecurityProfile {
    let (kind, path) = match profile.map(|profile| (profile.type_.as_str(), profile)) {
        Some(("RuntimeDefault", _)) => (ProfileType::RuntimeDefault, String::new()),
        Some(("Localhost", profile)) => {
            (ProfileType::Localhost, profile.localhost_profile.clone().unwrap_or_default())
        }
        _ => (ProfileType::Unconfined, String::new()),
    };
    SecurityProfile { profile_type: kind.into(), localhost_ref: path }
}

/// Whether the container must not run as root, by its own context or the pod's.
pub(super) fn must_not_be_root(pod: &Pod, container: &Container) -> bool {
    let of_pod = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let own = container.security_context.as_ref();
    own.and_then(|context| context.run_as_non_root).or(of_pod.and_then(|context| context.run_as_non_root))
        == Some(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_containers_own_context_wins_over_the_pods() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "securityContext": {"runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000},
            "containers": [{"name": "c", "securityContext":
                {"runAsUser": 7, "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}}}]}}))
        .unwrap();
        let context = container(&pod, &pod.spec.as_ref().unwrap().containers[0]);
        assert_eq!(context.run_as_user, Some(Int64Value { value: 7 }));
        assert_eq!(context.run_as_group, Some(Int64Value { value: 3000 }));
        assert_eq!(context.supplemental_groups, [2000]);
        assert_eq!(context.capabilities.unwrap().drop_capabilities, ["ALL"]);
    }

    #[test]
    fn containers_have_pid_namespaces_of_their_own_unless_they_share() {
        let pod = |spec| serde_json::from_value::<Pod>(json!({"spec": spec})).unwrap();
        let pid = |pod: &Pod| namespaces(pod).pid();
        assert_eq!(pid(&pod(json!({"containers": []}))), NamespaceMode::Container);
        assert_eq!(pid(&pod(json!({"containers": [], "shareProcessNamespace": true}))), NamespaceMode::Pod);
        assert_eq!(pid(&pod(json!({"containers": [], "hostPID": true}))), NamespaceMode::Node);
    }
}
