//! Nodes: their share of the pod network, and whether they still report.

pub(crate) mod lifecycle;
pub(crate) mod networks;

use k8s_openapi::api::core::v1::Node;

pub use networks::{PodNetwork, PodNetworkError};

/// Whether a node says that it can run pods.
pub(crate) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
