//! Which part of the cluster's pod network each node has.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use crate::runtime::cache::Key;
use crate::runtime::context::Context;
use crate::runtime::recorder::Severity;

/// The prefix of a node's share, in IPv4 (upstream's `--node-cidr-mask-size-ipv4`).
const NODE_PREFIX_V4: u8 = 24;
/// The prefix of a node's share, in IPv6 (upstream's `--node-cidr-mask-size-ipv6`).
const NODE_PREFIX_V6: u8 = 64;

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

/// Text that is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Not ADDRESS/PREFIX.
    #[error("{0:?} is not a range of addresses; write it as ADDRESS/PREFIX, for example 10.244.0.0/16")]
    Malformed(String),
    /// Too narrow for even one node.
    #[error("the range {0} is too narrow to give nodes a share; a node gets a /24 (IPv4) or a /64 (IPv6)")]
    TooNarrow(String),
}

impl Cidr {
    /// The shares that nodes get, in order; at most 65536.
    fn shares(self) -> impl Iterator<Item = Cidr> {
        let share = if self.network.is_ipv4() { NODE_PREFIX_V4 } else { NODE_PREFIX_V6 };
        let count = 1_u32 << (share - self.prefix).min(16);
        (0..count).map(move |index| {
            let network = match self.network {
                IpAddr::V4(network) => Ipv4Addr::from(u32::from(network) + (index << (32 - share))).into(),
                IpAddr::V6(network) => {
                    Ipv6Addr::from(u128::from(network) + (u128::from(index) << (128 - u32::from(share))))
                        .into()
                }
            };
            Cidr { network, prefix: share }
        })
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let malformed = || CidrError::Malformed(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(malformed)?;
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let prefix: u8 = prefix.parse().map_err(|_| malformed())?;
        let (network, share) = match address {
            IpAddr::V4(v4) if prefix <= 32 => {
                let mask = u32::MAX.checked_shl(u32::from(32 - prefix)).unwrap_or(0);
                (Ipv4Addr::from(u32::from(v4) & mask).into(), NODE_PREFIX_V4)
            }
            IpAddr::V6(v6) if prefix <= 128 => {
                let mask = u128::MAX.checked_shl(u32::from(128 - prefix)).unwrap_or(0);
                (Ipv6Addr::from(u128::from(v6) & mask).into(), NODE_PREFIX_V6)
            }
            _ => return Err(malformed()),
        };
        if prefix > share {
            return Err(CidrError::TooNarrow(text.to_owned()));
        }
        Ok(Self { network, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// Gives a node its share if it has none. One node at a time: the queue's key is the cluster.
pub(crate) async fn reconcile(context: &Context, cluster: Cidr) -> kube::Result<()> {
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
            context.recorder.record(
                "node-ipam-controller",
                &**node,
                Severity::Warning,
                "CIDRNotAvailable",
                note,
            );
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
        let cluster: Cidr = "10.244.0.0/16".parse().unwrap();
        let shares: Vec<String> = cluster.shares().take(3).map(|share| share.to_string()).collect();
        assert_eq!(shares, ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24"]);
        assert_eq!(cluster.shares().count(), 256);
        assert_eq!("10.244.7.0/24".parse::<Cidr>().unwrap().shares().count(), 1);
    }

    #[test]
    fn a_range_too_narrow_for_a_node_is_refused() {
        assert!(matches!("10.0.0.0/25".parse::<Cidr>(), Err(CidrError::TooNarrow(_))));
        assert!(matches!("10.0.0.0".parse::<Cidr>(), Err(CidrError::Malformed(_))));
    }
}
