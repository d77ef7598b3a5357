//! Pods.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use super::metadata::{Metadata, RawMetadata};
use super::{Object, raw};

/// The phases of a pod that runs no more, as far as anybody knows.
const ENDED: [&str; 3] = ["Succeeded", "Failed", "Unknown"];

/// Where a pod is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "RawPod")]
pub struct Pod {
    /// Name and version.
    pub metadata: Metadata,
    /// `spec.nodeName`.
    pub node: Option<Arc<str>>,
    /// `status.podIPs`, at most one per family; empty while it has none, and once it ends: others may have them soon.
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
    #[serde(default, deserialize_with = "raw::nullable")]
    phase: String,
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
        let ends = raw.metadata.deletion_timestamp.is_some() || ENDED.contains(&raw.status.phase.as_str());
        let addresses = match raw.status.pod_ips.is_empty() {
            _ if ends => Vec::new(),
            true => raw::addresses(&raw.status.pod_ip),
            false => raw::addresses(raw.status.pod_ips.iter().map(|ip| &ip.ip)),
        };
        Self { node: raw::shared(raw.spec.node_name), addresses, metadata: raw.metadata.into() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_pod_that_ends_has_no_address() {
        let addresses = |phase: &str, deleted: Value| {
            let pod = json!({
                "metadata": {"name": "a", "namespace": "b", "deletionTimestamp": deleted},
                "status": {"phase": phase, "podIPs": [{"ip": "192.0.2.1"}]},
            });
            serde_json::from_value::<Pod>(pod).unwrap().addresses.len()
        };
        for (phase, count) in
            [("Pending", 1), ("Running", 1), ("Succeeded", 0), ("Failed", 0), ("Unknown", 0)]
        {
            assert_eq!(addresses(phase, Value::Null), count, "{phase}");
        }
        assert_eq!(addresses("Running", json!("2026-01-01T00:00:00Z")), 0);
    }
}
