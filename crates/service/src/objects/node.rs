//! Nodes.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use super::metadata::{Metadata, RawMetadata};
use super::{Object, raw};

/// Label with the zone of a node (KEP-1659).
const ZONE: &str = "topology.kubernetes.io/zone";

/// What a Node says about where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "RawNode")]
pub struct Node {
    /// Name and version.
    pub metadata: Metadata,
    /// Zone from the label `topology.kubernetes.io/zone`.
    pub zone: Option<Arc<str>>,
    /// `status.addresses` of type InternalIP and ExternalIP, in order.
    pub addresses: Vec<IpAddr>,
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
    status: RawStatus,
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
        let addresses = raw.status.addresses.iter();
        Self {
            zone: raw::shared(raw.metadata.labels.remove(ZONE)),
            addresses: raw::addresses(
                addresses.filter(|address| address.r#type.ends_with("IP")).map(|address| &address.address),
            ),
            metadata: raw.metadata.into(),
        }
    }
}
