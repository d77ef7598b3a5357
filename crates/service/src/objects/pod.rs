//! Pods.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use super::metadata::{Metadata, RawMetadata};
use super::{Object, raw};

/// Where a pod is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "RawPod")]
pub struct Pod {
    /// Name and version.
    pub metadata: Metadata,
    /// `spec.nodeName`.
    pub node: Option<Arc<str>>,
    /// `status.podIPs`, at most one per family; empty while it has none.
    pub addresses: Vec<IpAddr>,
}

impl Object for Pod {
    const KIND: &'static str = "Pod";
    const GROUP: &'static str = "";
    const VERSION: &'static str = "v1";
    const PLURAL: &'static str = "pods";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

#[derive(Deserialize)]
struct RawPod {
    metadata: RawMetadata,
    #[serde(default, deserialize_with = "raw::nullable")]
    spec: RawSpec,
    #[serde(default, deserialize_with = "raw::nullable")]
    status: RawStatus,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RawSpec {
    node_name: Option<String>,
}

#[derive(Deserialize, Default)]
struct RawStatus {
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(rename = "podIPs", default, deserialize_with = "raw::nullable")]
    pod_ips: Vec<RawIp>,
}

#[derive(Deserialize)]
struct RawIp {
    #[serde(default)]
    ip: String,
}

impl From<RawPod> for Pod {
    fn from(raw: RawPod) -> Self {
        let addresses = match raw.status.pod_ips.is_empty() {
            true => raw::addresses(&raw.status.pod_ip),
            false => raw::addresses(raw.status.pod_ips.iter().map(|ip| &ip.ip)),
        };
        Self { node: raw::shared(raw.spec.node_name), addresses, metadata: raw.metadata.into() }
    }
}
