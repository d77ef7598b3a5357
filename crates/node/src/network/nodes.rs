//! The nodes of the cluster as this one needs to know them: where each node is and which pods it has.
//!
//! One watch of the Node objects serves both the driver, which leads packets to other nodes' pods, and
//! [`Masquerade`], which tells the cluster's addresses from the rest of the world.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use tokio::sync::{Notify, watch};

use follow::{Event, Selection};
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Node;
use kube::{Client, ResourceExt};
use service::Cidr;

use super::driver::Driver;
use super::masquerade::Masquerade;
use crate::Error;

/// The part of a Node object that decides how packets reach its pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NodeNetwork {
    /// `spec.podCIDRs`; empty until the cluster has given some out.
    pub(crate) pod_cidrs: Vec<Cidr>,
    /// The addresses of type `InternalIP`.
    pub(crate) addresses: Vec<IpAddr>,
}

impl From<&Node> for NodeNetwork {
    fn from(node: &Node) -> Self {
        let spec = node.spec.as_ref();
        let several = spec.and_then(|spec| spec.pod_cidrs.clone()).unwrap_or_default();
        let single = spec.and_then(|spec| spec.pod_cidr.clone()).filter(|_| several.is_empty());
        let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
        Self {
            pod_cidrs: several.into_iter().chain(single).filter_map(|cidr| cidr.parse().ok()).collect(),
            addresses: addresses
                .filter(|address| address.type_ == "InternalIP")
                .filter_map(|address| address.address.parse().ok())
                .collect(),
        }
    }
}

/// Notifications about the Node object of this node.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnObject {
    /// Notified when someone deletes it.
    pub(crate) deleted: Arc<Notify>,
    /// Notified when the cluster does not know whether the node is alive, as after the machine was asleep: its Leases
    /// were late.
    pub(crate) doubted: Arc<Notify>,
}

/// Whether the cluster has given up on the node; only a controller says that of a condition.
fn is_doubted(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.status == "Unknown")
}

/// Keeps routes and masquerading of the current network namespace in step with the Node objects, and with what
/// `changed` says has happened to the kernel's routes. `own_name` is the name of this node; `own` is notified of what
/// happens to its object. Ends only with an error.
pub(crate) async fn follow(
    client: Client,
    own_name: &str,
    own: &OwnObject,
    mut changed: watch::Receiver<()>,
) -> Result<(), Error> {
    let mut pod_network = Driver::default().open()?;
    let mut masquerade = Masquerade::open(own_name)?;
    let mut nodes: BTreeMap<String, NodeNetwork> = BTreeMap::new();
    let mut listing = true;
    let events = follow::objects::<Node>(client, Selection::all());
    pin_mut!(events);
    loop {
        let event = tokio::select! {
            event = events.next() => match event {
                Some(event) => event,
                None => return Ok(()),
            },
            Ok(()) = changed.changed() => {
                if !listing {
                    let others = nodes.iter().filter(|(name, _)| *name != own_name).map(|(_, node)| node).collect();
                    pod_network.follow(others).await;
                }
                continue;
            }
            () = masquerade.disturbed() => {
                if !listing {
                    masquerade.follow(nodes.get(own_name), nodes.values());
                }
                continue;
            }
        };
        match event {
            Event::Relist => {
                listing = true;
                nodes.clear();
            }
            Event::Synced => listing = false,
            Event::Apply(node) => {
                if node.name_any() == own_name && is_doubted(&node) {
                    own.doubted.notify_one();
                }
                let known = NodeNetwork::from(&node);
                // Heartbeats change nothing here.
                if nodes.insert(node.name_any(), known.clone()) == Some(known) {
                    continue;
                }
            }
            Event::Delete(node) => {
                nodes.remove(&node.name_any());
                if node.name_any() == own_name {
                    own.deleted.notify_one();
                }
            }
        }
        if !listing {
            let others = nodes.iter().filter(|(name, _)| *name != own_name).map(|(_, node)| node).collect();
            pod_network.follow(others).await;
            masquerade.follow(nodes.get(own_name), nodes.values());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node_network(spec: serde_json::Value) -> NodeNetwork {
        let addresses = json!([
            {"type": "Hostname", "address": "n2"}, {"type": "InternalIP", "address": "192.0.2.2"},
            {"type": "ExternalIP", "address": "203.0.113.2"}, {"type": "InternalIP", "address": "2001:db8::2"},
        ]);
        let node = json!({"metadata": {"name": "n2"}, "spec": spec, "status": {"addresses": addresses}});
        NodeNetwork::from(&serde_json::from_value::<Node>(node).unwrap())
    }

    #[test]
    fn a_node_is_doubted_when_a_condition_is_unknown() {
        let node = |ready: &str| {
            let conditions =
                json!([{"type": "DiskPressure", "status": "False"}, {"type": "Ready", "status": ready}]);
            let node = json!({"metadata": {"name": "n"}, "status": {"conditions": conditions}});
            serde_json::from_value::<Node>(node).unwrap()
        };
        assert!(is_doubted(&node("Unknown")));
        assert!(!is_doubted(&node("False")) && !is_doubted(&node("True")) && !is_doubted(&Node::default()));
    }

    #[test]
    fn internal_addresses_and_all_pod_cidrs_count() {
        let both =
            node_network(json!({"podCIDR": "10.244.2.0/24", "podCIDRs": ["10.244.2.0/24", "fd00:2::/64"]}));
        assert_eq!(both.pod_cidrs, ["10.244.2.0/24".parse().unwrap(), "fd00:2::/64".parse().unwrap()]);
        assert_eq!(both.addresses, ["192.0.2.2", "2001:db8::2"].map(|text| text.parse::<IpAddr>().unwrap()));
    }

    #[test]
    fn the_older_single_pod_cidr_counts_alone_and_nonsense_does_not() {
        assert_eq!(node_network(json!({"podCIDR": "10.244.2.0/24"})).pod_cidrs.len(), 1);
        assert_eq!(node_network(json!({"podCIDR": "pods"})).pod_cidrs, []);
        assert_eq!(node_network(json!({})).pod_cidrs, []);
    }
}
