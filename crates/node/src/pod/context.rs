//! What the workers of all pods share, and what they and the manager do to sandboxes and files.

use std::{fs, path::Path};

use follow::{EventType, Recorder};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::{Client, Resource, ResourceExt};
use tokio::sync::{broadcast, watch};

use super::Registry;
use crate::{
    Config,
    cri::{
        self, RuntimeError, events,
        messages::{DnsConfig, RemovePodSandboxRequest, StopPodSandboxRequest},
    },
    health::Health,
    image::Imported,
    machine::Machine,
    mounts,
    network::HostPorts,
};

/// What the runtime tells about containers.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// Something happened.
    Event(events::Event),
    /// Events may have been missed: look at the runtime's lists.
    Resync,
}

/// What all workers share.
pub(crate) struct Context {
    /// The Kubernetes API.
    pub(crate) client: Client,
    /// The container runtime.
    pub(crate) runtime: cri::Client,
    /// The runtime's name, as in `containerd://<id>`.
    pub(crate) runtime_name: String,
    /// The node.
    pub(crate) config: Config,
    /// Images that came from archives.
    pub(crate) imported: Imported,
    /// Kubernetes Events.
    pub(crate) recorder: Recorder,
    /// Whether runtime and network work.
    pub(crate) health: watch::Receiver<Health>,
    /// What happens to containers.
    pub(crate) news: broadcast::Sender<News>,
    /// The machine's resolv.conf.
    pub(crate) machine_dns: DnsConfig,
    /// The machine's size.
    pub(crate) machine: Machine,
    /// The pods, for the node's API.
    pub(crate) pods: Registry,
    /// Ports of the node that lead to pods.
    pub(crate) host_ports: HostPorts,
}

impl Context {
    /// Records an Event about a pod.
    pub(super) fn record(&self, pod: &Pod, type_: EventType, reason: &'static str, message: String) {
        self.recorder.record(pod.object_ref(&()), type_, reason, message);
    }

    /// Records an Event about a container of a pod.
    pub(super) fn record_container(
        &self,
        pod: &Pod,
        container: &str,
        type_: EventType,
        reason: &'static str,
        message: String,
    ) {
        let inits = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        let field =
            if inits.clone().any(|init| init.name == container) { "initContainers" } else { "containers" };
        let field_path = Some(format!("spec.{field}{{{container}}}"));
        let about = ObjectReference { field_path, ..pod.object_ref(&()) };
        self.recorder.record(about, type_, reason, message);
    }
}

/// Removes a pod's folder, once nothing is mounted in it any more: what a pod has mounted in its volumes is not its
/// own. What hostPath volumes name stays.
pub(super) fn remove_files(dir: &Path) -> std::io::Result<()> {
    mounts::detach_below(dir)?;
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Stops and removes a sandbox with everything in it. Idempotent.
pub(super) async fn remove_sandbox(runtime: &cri::Client, id: &str) -> Result<(), RuntimeError> {
    let stop = StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
    runtime.stop_pod_sandbox(stop).await?;
    runtime.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() }).await?;
    Ok(())
}

/// A pod's name for logs.
pub(super) fn full_name(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())
}
