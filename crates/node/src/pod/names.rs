//! Where a pod's things lie, and how the runtime's objects are labelled.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::Config;

/// Labels that every tool expects on the CRI's sandboxes and containers (`crictl` shows them).
pub(super) const POD_NAME: &str = "io.kubernetes.pod.name";
/// The pod's namespace.
pub(super) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// The pod's uid, by which sandboxes and containers are found again.
pub(super) const POD_UID: &str = "io.kubernetes.pod.uid";
/// The container's name in the pod.
pub(super) const CONTAINER_NAME: &str = "io.kubernetes.container.name";

/// The folder of a pod's logs: `<data_dir>/pods/<namespace>_<name>_<uid>`.
pub(super) fn log_dir(config: &Config, namespace: &str, name: &str, uid: &str) -> PathBuf {
    config.pods_dir().join(format!("{namespace}_{name}_{uid}"))
}

/// The folder of all pods' volumes and other files: `<data_dir>/pod-files`.
pub(super) fn all_files(config: &Config) -> PathBuf {
    config.data_dir.join("pod-files")
}

/// The folder of a pod's volumes and other files: `<data_dir>/pod-files/<uid>`.
pub(super) fn files_dir(config: &Config, uid: &str) -> PathBuf {
    all_files(config).join(uid)
}

/// The log of a container's n-th run, relative to the pod's log folder.
pub(super) fn log_path(container: &str, attempt: u32) -> String {
    Path::new(container).join(format!("{attempt}.log")).display().to_string()
}

/// The log of a container's n-th run.
pub(crate) fn log_file(config: &Config, pod: &Pod, container: &str, attempt: u32) -> PathBuf {
    let dir = log_dir(config, &pod.namespace().unwrap_or_default(), &pod.name_any(), &uid(pod));
    dir.join(log_path(container, attempt))
}

/// The labels of a pod's sandbox; also the first labels of its containers.
pub(super) fn labels(pod: &Pod) -> BTreeMap<String, String> {
    BTreeMap::from([
        (POD_NAME.to_owned(), pod.name_any()),
        (POD_NAMESPACE.to_owned(), pod.namespace().unwrap_or_default()),
        (POD_UID.to_owned(), uid(pod)),
    ])
}

/// `metadata.uid`.
pub(super) fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap_or_default()
}
