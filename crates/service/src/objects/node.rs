//! Nodes.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use super::metadata::{Metadata, RawMetadata};
use super::{Object, raw};
use crate::Cidr;

/// Label with the zone of a node (KEP-1659).
const ZONE: &str = "topology.kubernetes.io/zone";

/// Taint of a node that is about to be removed; load balancers must not send it anything new (KEP-3836).
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// What a Node says about where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "RawNode")]
pub struct Node {
    /// Name and version.
    pub metadata: Metadata,
    /// Zone from the label `topology.kubernetes.io/zone`.
    pub zone: Option<Arc<str>>,
    /// `status.addresses`: those of type InternalIP, then those of type ExternalIP. The first of each family is
    /// the node's primary one.
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`.
    pub pod_cidrs: Vec<Cidr>,
    /// Whether load balancers may send it new connections: it is neither being deleted nor marked for it.
    pub eligible: bool,
}

impl Object for Node {
    const KIND: &'static str = "Node";
    const GROUP: &'static str = "";
    const VERSION: &'static str = "v1";
    const PLURAL: &'static str = "nodes";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

#[derive(Deserialize)]
struct RawNode {
    metadata: RawMetadata,
    #[serde(default, deserialize_with = "raw::nullable")]
    spec: RawSpec,
    #[serde(default, deserialize_with = "raw::nullable")]
    status: RawStatus,
}

#[derive(Deserialize, Default)]
struct RawSpec {
    #[serde(rename = "podCIDR")]
    pod_cidr: Option<String>,
    #[serde(rename = "podCIDRs", default, deserialize_with = "raw::nullable")]
    pod_cidrs: Vec<String>,
    #[serde(default, deserialize_with = "raw::nullable")]
    taints: Vec<RawTaint>,
}

#[derive(Deserialize)]
struct RawTaint {
    #[serde(default)]
    key: String,
}

#[derive(Deserialize, Default)]
struct RawStatus {
    #[serde(default, deserialize_with = "raw::nullable")]
    addresses: Vec<RawAddress>,
}

#[derive(Deserialize)]
struct RawAddress {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    address: String,
}

impl From<RawNode> for Node {
    fn from(mut raw: RawNode) -> Self {
        let of_type = |kind: &'static str| {
            let addresses = raw.status.addresses.iter().filter(move |address| address.r#type == kind);
            addresses.map(|address| &address.address)
        };
        let ranges = match raw.spec.pod_cidrs.is_empty() {
            true => raw.spec.pod_cidr.as_slice(),
            false => &raw.spec.pod_cidrs,
        };
        Self {
            zone: raw::shared(raw.metadata.labels.remove(ZONE)),
            addresses: raw::addresses(of_type("InternalIP").chain(of_type("ExternalIP"))),
            pod_cidrs: ranges.iter().filter_map(|range| range.parse().ok()).collect(),
            eligible: raw.metadata.deletion_timestamp.is_none()
                && !raw.spec.taints.iter().any(|taint| taint.key == TO_BE_DELETED),
            metadata: raw.metadata.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: serde_json::Value) -> Node {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_internal_address_is_the_primary_one() {
        let node = read(json!({
            "metadata": {"name": "a", "labels": {ZONE: "z1"}},
            "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:244:1::/64"]},
            "status": {"addresses": [{"type": "Hostname", "address": "a"},
                {"type": "ExternalIP", "address": "192.0.2.1"}, {"type": "InternalIP", "address": "198.51.100.1"}]}
        }));
        let addresses: Vec<_> = node.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["198.51.100.1", "192.0.2.1"]);
        assert_eq!((node.zone.as_deref(), node.pod_cidrs.len(), node.eligible), (Some("z1"), 2, true));
    }

    #[test]
    fn a_node_that_is_going_is_not_eligible() {
        let tainted = json!({"metadata": {"name": "a"}, "spec": {"taints": [{"key": TO_BE_DELETED}]}});
        let deleted = json!({"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert!(!read(tainted).eligible && !read(deleted).eligible);
    }
}
