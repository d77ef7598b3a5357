//! Which part of the cluster's pod network each node has.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use follow::EventType;
use k8s_openapi::api::core::v1::Node;
use serde_json::json;
use service::{Cidr, InvalidCidr};

use crate::runtime::cache::Key;
use crate::runtime::context::Context;

/// The prefix of a node's share, in IPv4 (upstream's `--node-cidr-mask-size-ipv4`).
const NODE_PREFIX_V4: u8 = 24;
/// The prefix of a node's share, in IPv6 (upstream's `--node-cidr-mask-size-ipv6`).
const NODE_PREFIX_V6: u8 = 64;

/// The addresses of all pods, wide enough to give nodes a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodNetwork(Cidr);

/// Text that names no network for pods.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PodNetworkError {
    /// No range of addresses.
    #[error(transparent)]
    Range(#[from] InvalidCidr),
    /// Too narrow for even one node.
    #[error("the range {0} is too narrow to give nodes a share; a node gets a /24 (IPv4) or a /64 (IPv6)")]
    TooNarrow(Cidr),
}

impl PodNetwork {
    /// The whole range.
    pub fn range(self) -> Cidr {
        self.0
    }

    fn share_prefix(self) -> u8 {
        if self.0.address().is_ipv4() { NODE_PREFIX_V4 } else { NODE_PREFIX_V6 }
    }

    /// The shares that nodes get, in order; at most 65536.
    fn shares(self) -> impl Iterator<Item = Cidr> {
        let share = self.share_prefix();
        let count = 1_u32 << (share - self.0.prefix()).min(16);
        (0..count).filter_map(move |index| {
            let address = match self.0.address() {
                IpAddr::V4(first) => Ipv4Addr::from(u32::from(first) + (index << (32 - share))).into(),
                IpAddr::V6(first) => {
                    Ipv6Addr::from(u128::from(first) + (u128::from(index) << (128 - u32::from(share)))).into()
                }
            };
            Cidr::new(address, share)
        })
    }
}

impl FromStr for PodNetwork {
    type Err = PodNetworkError;

    fn from_str(text: &str) -> Result<Self, PodNetworkError> {
        let network = Self(text.parse()?);
        match network.0.prefix() <= network.share_prefix() {
            true => Ok(network),
            false => Err(PodNetworkError::TooNarrow(network.0)),
        }
    }
}

impl fmt::Display for PodNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Gives a node its share if it has none. One node at a time: the queue's key is the cluster.
pub(crate) async fn reconcile(context: &Context, cluster: PodNetwork) -> kube::Result<()> {
    let nodes = context.cache::<Node>().all();
    let own = |node: &Node| {
        node.spec.as_ref().and_then(|spec| spec.pod_cidr.clone()).filter(|cidr| !cidr.is_empty())
    };
    let mut taken: HashSet<String> = nodes.iter().filter_map(|node| own(node)).collect();
    for node in nodes.iter().filter(|node| own(node).is_none()) {
        let Some(share) =
            cluster.shares().map(|share| share.to_string()).find(|share| !taken.contains(share))
        else {
            let note = format!("the pod network {cluster} has no share left for this node");
            context.record("node-ipam-controller", &**node, EventType::Warning, "CIDRNotAvailable", note);
            continue;
        };
        let patch = json!({ "spec": { "podCIDR": share, "podCIDRs": [share] } });
        context.patch::<Node>(&Key::of(&**node), &patch).await?;
        taken.insert(share);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_get_consecutive_shares() {
        let cluster: PodNetwork = "10.244.0.0/16".parse().unwrap();
        let shares: Vec<String> = cluster.shares().take(3).map(|share| share.to_string()).collect();
        assert_eq!(shares, ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24"]);
        assert_eq!(cluster.shares().count(), 256);
        assert_eq!("10.244.7.0/24".parse::<PodNetwork>().unwrap().shares().count(), 1);
    }

    #[test]
    fn a_range_too_narrow_for_a_node_is_refused() {
        assert!(matches!("10.0.0.0/25".parse::<PodNetwork>(), Err(PodNetworkError::TooNarrow(_))));
        assert!(matches!("10.0.0.0".parse::<PodNetwork>(), Err(PodNetworkError::Range(_))));
    }
}
