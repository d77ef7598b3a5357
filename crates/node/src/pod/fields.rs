//! What becomes of each field of a pod's specification on this node. A field that is accepted by the API and not
//! carried out is said to be so: its containers do not start ([`Fate::Refused`]), or an Event tells what they go
//! without ([`Fate::Without`]).
//!
//! A refused container waits with reason `CreateContainerConfigError`, where the kubelet would fail some such pods: a
//! failed pod is made again by its ReplicaSet at once, and again.

use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::Value;

/// What becomes of a field that the node does not carry out, or not with every value.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// Another part's: the API server's, the scheduler's, the controllers'.
    Elsewhere,
    /// Means nothing on a Linux node, or on one without the feature that it is about, as with the kubelet.
    Nothing,
    /// Containers do not start when the field has such a value; the sentence says why.
    Refused(fn(&Value) -> bool, &'static str),
    /// Containers start, and an Event says what they go without when the field has such a value.
    Without(fn(&Value) -> bool, &'static str),
}

use Fate::{Elsewhere, Nothing, Refused, Without};

/// Whether a field has any value but the empty one.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    }
}

/// A kind of volume that does not exist here.
const NO_VOLUME: Fate = Refused(is_set, "this node has no volumes of this kind");

/// Fields by their path in the specification, with everything below them. `[]` is every item of a list, and
/// `containers[]` is also every init container.
const FATES: &[(&str, Fate)] = &[
    ("affinity", Elsewhere),
    ("automountServiceAccountToken", Elsewhere),
    ("nodeSelector", Elsewhere),
    ("preemptionPolicy", Elsewhere),
    ("priority", Elsewhere),
    ("priorityClassName", Elsewhere),
    ("schedulerName", Elsewhere),
    ("schedulingGates", Elsewhere),
    ("schedulingGroup", Elsewhere),
    ("serviceAccount", Elsewhere),
    ("tolerations", Elsewhere),
    ("topologySpreadConstraints", Elsewhere),
    ("overhead", Nothing),
    ("securityContext.fsGroupChangePolicy", Nothing),
    ("securityContext.seLinuxChangePolicy", Nothing),
    ("securityContext.windowsOptions", Nothing),
    ("containers[].securityContext.windowsOptions", Nothing),
    ("containers[].resizePolicy", Nothing),
    ("ephemeralContainers", Without(is_set, "this node does not run ephemeral containers")),
    ("imagePullSecrets", Without(is_set, "this node pulls images without credentials")),
    ("securityContext.seLinuxOptions", Without(is_set, "this node sets no SELinux labels")),
    ("containers[].securityContext.seLinuxOptions", Without(is_set, "this node sets no SELinux labels")),
    ("containers[].resources.limits", Without(has_other_resources, "this node limits cpu and memory only")),
    (
        "volumes[].emptyDir",
        Without(
            |volume| volume["medium"] != "Memory" && is_set(&volume["sizeLimit"]),
            "a sizeLimit holds for volumes of medium Memory only",
        ),
    ),
    (
        "volumes[].emptyDir.medium",
        Refused(|medium| is_set(medium) && medium != "Memory", "this node has no huge pages"),
    ),
    ("hostUsers", Refused(|users| users == false, "this node has no user namespaces for pods")),
    ("os", Refused(|os| os["name"] != "linux", "this is a Linux node")),
    ("resourceClaims", Refused(is_set, "this node has no devices to claim")),
    ("resources", Refused(is_set, "this node has resources of containers only, not of pods")),
    ("runtimeClassName", Refused(is_set, "this node has one runtime and no RuntimeClasses")),
    ("securityContext.appArmorProfile", Refused(is_confined, "this node does not enforce AppArmor profiles")),
    (
        "containers[].securityContext.appArmorProfile",
        Refused(is_confined, "this node does not enforce AppArmor profiles"),
    ),
    (
        "securityContext.supplementalGroupsPolicy",
        Refused(|policy| policy == "Strict", "this node knows policy Merge only"),
    ),
    ("containers[].env[].valueFrom.fileKeyRef", Refused(is_set, "this node takes no variables from files")),
    (
        "containers[].lifecycle.stopSignal",
        Refused(is_set, "this node stops containers with the signal of their image"),
    ),
    ("containers[].resources.claims", Refused(is_set, "this node has no devices to claim")),
    (
        "containers[].restartPolicy",
        Refused(is_set, "this node has restart policies of pods, and Always of init containers"),
    ),
    ("containers[].restartPolicyRules", Refused(is_set, "this node has restart policies without rules")),
    ("containers[].volumeDevices", Refused(is_set, "this node has no block devices for pods")),
    (
        "containers[].volumeMounts[].recursiveReadOnly",
        Refused(|mode| mode == "Enabled", "this node's runtime has no recursive read-only mounts"),
    ),
    ("volumes[].projected.sources[].clusterTrustBundle", Refused(is_set, "this node has no trust bundles")),
    (
        "volumes[].projected.sources[].podCertificate",
        Refused(is_set, "this node has no certificates for pods"),
    ),
    ("volumes[].awsElasticBlockStore", NO_VOLUME),
    ("volumes[].azureDisk", NO_VOLUME),
    ("volumes[].azureFile", NO_VOLUME),
    ("volumes[].cephfs", NO_VOLUME),
    ("volumes[].cinder", NO_VOLUME),
    ("volumes[].csi", NO_VOLUME),
    ("volumes[].ephemeral", NO_VOLUME),
    ("volumes[].fc", NO_VOLUME),
    ("volumes[].flexVolume", NO_VOLUME),
    ("volumes[].flocker", NO_VOLUME),
    ("volumes[].gcePersistentDisk", NO_VOLUME),
    ("volumes[].gitRepo", NO_VOLUME),
    ("volumes[].glusterfs", NO_VOLUME),
    ("volumes[].image", NO_VOLUME),
    ("volumes[].iscsi", NO_VOLUME),
    ("volumes[].nfs", NO_VOLUME),
    ("volumes[].persistentVolumeClaim", NO_VOLUME),
    ("volumes[].photonPersistentDisk", NO_VOLUME),
    ("volumes[].portworxVolume", NO_VOLUME),
    ("volumes[].quobyte", NO_VOLUME),
    ("volumes[].rbd", NO_VOLUME),
    ("volumes[].scaleIO", NO_VOLUME),
    ("volumes[].storageos", NO_VOLUME),
    ("volumes[].vsphereVolume", NO_VOLUME),
];

fn is_confined(profile: &Value) -> bool {
    is_set(profile) && profile["type"] != "Unconfined"
}

fn has_other_resources(limits: &Value) -> bool {
    limits
        .as_object()
        .is_some_and(|limits| limits.keys().any(|name| !matches!(name.as_str(), "cpu" | "memory")))
}

/// Why a container of the pod does not start here: the first field that is refused, with the reason. Fields of other
/// containers are not looked at.
pub(super) fn refusal(pod: &Pod, container: &Container) -> Option<String> {
    let spec = spec_with(pod, container);
    let mut refused = FATES.iter().filter_map(|(path, fate)| match fate {
        Refused(is_bad, why) if find(&spec, path).iter().any(|value| is_bad(value)) => {
            Some(format!("spec.{path} cannot be carried out: {why}"))
        }
        _ => None,
    });
    refused.next()
}

/// What the pod's containers go without, in sentences.
pub(super) fn lacks(pod: &Pod) -> Vec<String> {
    let spec = serde_json::to_value(pod.spec.as_ref()).unwrap_or_default();
    let lists = ["containers[]", "initContainers[]"];
    let is_lacking = |path: &str, is_bad: fn(&Value) -> bool| {
        let paths = lists.map(|list| path.replacen("containers[]", list, 1));
        paths.iter().any(|path| find(&spec, path).iter().any(|value| is_bad(value)))
    };
    let lacks = FATES.iter().filter_map(|(path, fate)| match fate {
        Without(is_bad, what) if is_lacking(path, *is_bad) => {
            Some(format!("spec.{path} is not carried out: {what}"))
        }
        _ => None,
    });
    lacks.collect()
}

/// The specification as JSON, with one container only.
fn spec_with(pod: &Pod, container: &Container) -> Value {
    let mut spec = serde_json::to_value(pod.spec.as_ref()).unwrap_or_default();
    let inits = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let mut container = container.clone();
    // The one policy of a container that is carried out: a sidecar's.
    if inits.into_iter().any(|init| init.name == container.name) {
        container.restart_policy.take_if(|policy| policy == "Always");
    }
    spec["containers"] = serde_json::to_value([container]).unwrap_or_default();
    spec
}

/// All values at a path.
fn find<'a>(value: &'a Value, path: &str) -> Vec<&'a Value> {
    path.split('.').fold(vec![value], |found, part| {
        let next = found.into_iter().filter_map(|value| value.get(part.trim_end_matches("[]")));
        match part.ends_with("[]") {
            true => next.flat_map(|list| list.as_array().into_iter().flatten()).collect(),
            false => next.collect(),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::json;

    use super::*;

    /// What the API accepts.
    const SCHEMA: &str = include_str!("../../../api/schema/messages.schema");

    /// Fields that are carried out, with every value, by message.
    const CARRIED_OUT: &[(&str, &str)] = &[
        (
            "core/v1.PodSpec",
            "volumes initContainers containers restartPolicy terminationGracePeriodSeconds activeDeadlineSeconds \
             dnsPolicy serviceAccountName nodeName hostNetwork hostPID hostIPC shareProcessNamespace securityContext \
             hostname subdomain hostAliases dnsConfig readinessGates enableServiceLinks setHostnameAsFQDN \
             hostnameOverride",
        ),
        (
            "core/v1.Container",
            "name image command args workingDir ports envFrom env resources volumeMounts livenessProbe \
             readinessProbe startupProbe lifecycle terminationMessagePath terminationMessagePolicy imagePullPolicy \
             securityContext stdin stdinOnce tty",
        ),
        ("core/v1.ContainerPort", "name hostPort containerPort protocol hostIP"),
        ("core/v1.EnvFromSource", "prefix configMapRef secretRef"),
        ("core/v1.ConfigMapEnvSource", "optional"),
        ("core/v1.SecretEnvSource", "optional"),
        ("core/v1.EnvVar", "name value valueFrom"),
        ("core/v1.EnvVarSource", "fieldRef resourceFieldRef configMapKeyRef secretKeyRef"),
        ("core/v1.ObjectFieldSelector", "apiVersion fieldPath"),
        ("core/v1.ResourceFieldSelector", "containerName resource divisor"),
        ("core/v1.ConfigMapKeySelector", "key optional"),
        ("core/v1.SecretKeySelector", "key optional"),
        ("core/v1.ResourceRequirements", "requests"),
        ("core/v1.VolumeMount", "name readOnly mountPath subPath mountPropagation subPathExpr"),
        (
            "core/v1.Probe",
            "initialDelaySeconds timeoutSeconds periodSeconds successThreshold failureThreshold \
             terminationGracePeriodSeconds",
        ),
        ("core/v1.ProbeHandler", "exec httpGet tcpSocket grpc"),
        ("core/v1.ExecAction", "command"),
        ("core/v1.HTTPGetAction", "path port host scheme httpHeaders"),
        ("core/v1.HTTPHeader", "name value"),
        ("core/v1.TCPSocketAction", "port host"),
        ("core/v1.GRPCAction", "port service"),
        ("core/v1.Lifecycle", "postStart preStop"),
        ("core/v1.LifecycleHandler", "exec httpGet tcpSocket sleep"),
        ("core/v1.SleepAction", "seconds"),
        (
            "core/v1.SecurityContext",
            "capabilities privileged runAsUser runAsGroup runAsNonRoot readOnlyRootFilesystem \
             allowPrivilegeEscalation procMount seccompProfile",
        ),
        ("core/v1.Capabilities", "add drop"),
        ("core/v1.SeccompProfile", "type localhostProfile"),
        (
            "core/v1.PodSecurityContext",
            "runAsUser runAsGroup runAsNonRoot supplementalGroups fsGroup sysctls seccompProfile",
        ),
        ("core/v1.Sysctl", "name value"),
        ("core/v1.HostAlias", "ip hostnames"),
        ("core/v1.PodDNSConfig", "nameservers searches options"),
        ("core/v1.PodDNSConfigOption", "name value"),
        ("core/v1.PodReadinessGate", "conditionType"),
        ("core/v1.Volume", "name"),
        ("core/v1.VolumeSource", "hostPath emptyDir secret downwardAPI configMap projected"),
        ("core/v1.EmptyDirVolumeSource", "sizeLimit"),
        ("core/v1.HostPathVolumeSource", "path type"),
        ("core/v1.SecretVolumeSource", "secretName items defaultMode optional"),
        ("core/v1.ConfigMapVolumeSource", "items defaultMode optional"),
        ("core/v1.DownwardAPIVolumeSource", "items defaultMode"),
        ("core/v1.DownwardAPIVolumeFile", "path fieldRef resourceFieldRef mode"),
        ("core/v1.KeyToPath", "key path mode"),
        ("core/v1.ProjectedVolumeSource", "sources defaultMode"),
        ("core/v1.VolumeProjection", "secret downwardAPI configMap serviceAccountToken"),
        ("core/v1.ServiceAccountTokenProjection", "audience expirationSeconds path"),
        ("core/v1.SecretProjection", "items optional"),
        ("core/v1.ConfigMapProjection", "items optional"),
        ("core/v1.DownwardAPIProjection", "items"),
        ("core/v1.LocalObjectReference", "name"),
    ];

    /// Messages of the schema: their fields with types.
    fn messages() -> BTreeMap<&'static str, Vec<(&'static str, &'static str)>> {
        let mut messages = BTreeMap::new();
        let mut current = "";
        for line in SCHEMA.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["message", name, ..] => current = name,
                [_, name, kind, ..] => messages.entry(current).or_insert_with(Vec::new).push((*name, *kind)),
                _ => {}
            }
        }
        messages
    }

    /// Walks the specification's fields by path, and notes the paths and the carried-out fields that it meets.
    fn walk(message: &str, path: &str, met: &mut BTreeSet<String>, lost: &mut BTreeSet<String>) {
        let messages = messages();
        let carried_out = |name| {
            let row = CARRIED_OUT.iter().find(|(of, _)| *of == message);
            row.is_some_and(|(_, names)| names.split_whitespace().any(|other| other == name))
        };
        for &(name, kind) in &messages[message] {
            let below = kind.trim_start_matches("[]");
            if name == "-" {
                walk(below, path, met, lost);
                continue;
            }
            let own = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            let own = own.replace("initContainers", "containers");
            let is_in_table = FATES.iter().any(|(path, _)| *path == own);
            met.insert(own.clone());
            if carried_out(name) {
                met.insert(format!("{message} {name}"));
            } else if is_in_table {
                continue;
            } else {
                lost.insert(own.clone());
            }
            if messages.contains_key(below) && !kind.starts_with("{}") {
                let own = if kind.starts_with("[]") { format!("{own}[]") } else { own };
                walk(below, &own, met, lost);
            }
        }
    }

    #[test]
    fn every_field_of_a_pod_is_carried_out_or_said_not_to_be() {
        let (mut met, mut lost) = (BTreeSet::new(), BTreeSet::new());
        walk("core/v1.PodSpec", "", &mut met, &mut lost);
        assert!(lost.is_empty(), "what becomes of {lost:?}?");
        for (path, _) in FATES {
            assert!(met.contains(*path), "{path} is no field of the schema");
        }
        for (message, names) in CARRIED_OUT {
            for name in names.split_whitespace() {
                let known = messages()[message].iter().any(|(other, _)| *other == name);
                assert!(known, "{message} has no field {name}");
            }
        }
    }

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_container_is_refused_for_its_pods_and_its_own_fields_only() {
        let container = |extra: Value| {
            let mut container = json!({"name": "c"});
            container.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            container
        };
        let refused = |spec: Value, at: usize| {
            let pod = pod(spec);
            refusal(&pod, &pod.spec.as_ref().unwrap().containers[at])
        };
        assert_eq!(refused(json!({"containers": [container(json!({}))], "hostUsers": true}), 0), None);
        let why = refused(json!({"containers": [container(json!({}))], "hostUsers": false}), 0).unwrap();
        assert_eq!(why, "spec.hostUsers cannot be carried out: this node has no user namespaces for pods");
        let signal = json!({"lifecycle": {"stopSignal": "SIGUSR1"}});
        let two = json!({"containers": [container(json!({})), container(signal)]});
        assert_eq!(refused(two.clone(), 0), None);
        assert!(refused(two, 1).unwrap().starts_with("spec.containers[].lifecycle.stopSignal"));
        let sidecar = json!({"restartPolicy": "Always"});
        assert!(refused(json!({"containers": [container(sidecar.clone())]}), 0).is_some());
        let with_sidecar = pod(json!({"containers": [], "initContainers": [container(sidecar)]}));
        let init = &with_sidecar.spec.as_ref().unwrap().init_containers.as_ref().unwrap()[0];
        assert_eq!(refusal(&with_sidecar, init), None);
        let windows = json!({"containers": [container(json!({}))], "os": {"name": "windows"}});
        assert!(refused(windows, 0).unwrap().contains("Linux"));
        let linux =
            json!({"containers": [container(json!({}))], "os": {"name": "linux"}, "runtimeClassName": ""});
        assert_eq!(refused(linux, 0), None);
    }

    #[test]
    fn what_containers_go_without_is_told_of_init_containers_too() {
        let container = json!({"name": "c", "resources": {"limits": {"cpu": "1"}}});
        let init = json!({"name": "i", "resources": {"limits": {"ephemeral-storage": "1Gi"}}});
        let volumes = json!([{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]);
        let spec = json!({"containers": [container], "initContainers": [init], "volumes": volumes});
        let lacks = lacks(&pod(spec));
        assert_eq!(lacks.len(), 1, "{lacks:?}");
        assert!(lacks[0].contains("cpu and memory only"));
        assert!(super::lacks(&pod(json!({"containers": []}))).is_empty());
    }
}
