//! What a node needs to know, and where it keeps its things.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

/// The usual port of a node's own API.
pub const DEFAULT_PORT: u16 = 10250;

/// The configuration of one node. Several nodes may run on one machine, and in one process: nothing that is
/// derived from a configuration is shared between two with different `data_dir` and `name`.
#[derive(Clone, Debug)]
pub struct Config {
    /// `metadata.name` of the Node object.
    pub name: String,
    /// The address under which other nodes and the API server reach this one.
    pub internal_ip: IpAddr,
    /// Everything that outlives the process: images, pods' volumes and logs, addresses in use.
    pub data_dir: PathBuf,
    /// The unix socket of a CRI runtime that is already there; without it the node starts its own containerd.
    pub runtime_endpoint: Option<PathBuf>,
    /// Image archives (docker or OCI tar files) to import at start, besides those in `<data_dir>/images`.
    pub images_dir: PathBuf,
    /// Addresses of the cluster DNS Service, for the resolv.conf of pods.
    pub cluster_dns: Vec<IpAddr>,
    /// The cluster's DNS domain, such as `cluster.local`.
    pub cluster_domain: String,
    /// PEM certificates of those who may sign the client certificates of callers of the node's API.
    pub client_ca_pem: String,
    /// The program that calls [`crate::cni::main`] when `CNI_COMMAND` is set; installed as CNI plugin.
    pub program: PathBuf,
    /// Labels for the Node object, besides the well-known ones.
    pub labels: BTreeMap<String, String>,
    /// TCP port of the node's API; 0 takes a free one, which the Node object then names.
    pub port: u16,
    /// Environment variables for the containerd that the node starts, besides the program's own: proxies by
    /// which it reaches registries, for example.
    pub runtime_environment: BTreeMap<String, String>,
    /// Where the containers' cgroups go, below the root of every hierarchy: `/portolan/NAME` for example.
    pub cgroup_parent: String,
}

/// The file in a node's data directory that says so.
const RECORD: &str = "node.json";

/// Whether a node keeps its data in this folder, or has.
pub fn is_data_dir(folder: &Path) -> bool {
    folder.join(RECORD).is_file()
}

impl Config {
    /// The folder for sockets and for what must not outlive a boot of the machine. Its name is short whatever
    /// `data_dir` is, as paths of unix sockets are limited to 107 bytes (unix(7)).
    pub fn runtime_dir(&self) -> PathBuf {
        let data_dir = std::path::absolute(&self.data_dir).unwrap_or_else(|_| self.data_dir.clone());
        let bytes = [self.name.as_bytes(), b"\0", data_dir.as_os_str().as_encoded_bytes()].concat();
        PathBuf::from(format!("/run/portolan/{:016x}", fnv1a(&bytes)))
    }

    /// The socket of the container runtime.
    pub fn runtime_socket(&self) -> PathBuf {
        self.runtime_endpoint.clone().unwrap_or_else(|| self.runtime_dir().join("containerd.sock"))
    }

    /// Volumes and logs of pods.
    pub fn pods_dir(&self) -> PathBuf {
        self.data_dir.join("pods")
    }

    /// What says that `data_dir` is a node's, and may be removed with it.
    pub(crate) fn record(&self) -> PathBuf {
        self.data_dir.join(RECORD)
    }

    /// Configuration, programs and books of the pod network.
    pub fn cni_dir(&self) -> PathBuf {
        self.data_dir.join("cni")
    }
}

/// The 64-bit FNV-1a hash: the same in every build, so that a newer program finds what an older one left.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A configuration for unit tests.
    pub(crate) fn config(data_dir: &str) -> Config {
        Config {
            name: "node1".into(),
            internal_ip: [192, 0, 2, 1].into(),
            data_dir: data_dir.into(),
            runtime_endpoint: None,
            images_dir: PathBuf::from(data_dir).join("images"),
            cluster_dns: vec![[10, 96, 0, 10].into()],
            cluster_domain: "cluster.local".into(),
            client_ca_pem: String::new(),
            program: "/usr/bin/portolan".into(),
            labels: BTreeMap::new(),
            port: DEFAULT_PORT,
            runtime_environment: BTreeMap::new(),
            cgroup_parent: "/portolan/node1".into(),
        }
    }

    #[test]
    fn a_socket_path_stays_short_however_deep_the_data_dir_is() {
        let deep = config(&"/very/deep".repeat(40));
        assert!(deep.runtime_socket().as_os_str().len() + ".ttrpc".len() < 108);
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn two_nodes_on_one_machine_have_two_sockets() {
        assert_ne!(config("/var/lib/a").runtime_socket(), config("/var/lib/b").runtime_socket());
    }
}
