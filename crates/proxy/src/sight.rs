//! What all modes compile from: the cluster, seen from a node, with the proxy's configuration.

use std::net::IpAddr;

use service::objects::Node;
use service::{Cidr, Cluster, Family, PortView, ServiceName, Viewpoint};

use crate::config::{Config, DetectLocal, NodePortAddresses};

/// The cluster, seen from a node. A mode compiles this and nothing else; so the same sight gives the same rules.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    /// Services and EndpointSlices.
    pub cluster: &'a Cluster,
    /// The node that looks.
    pub node: &'a NodeFacts,
    /// The proxy's configuration.
    pub config: &'a Config,
}

/// What rules need to know of the node and of the cluster around it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its name and zone.
    pub viewpoint: Viewpoint,
    /// `status.addresses` of its Node; the first of each family is the primary one.
    pub addresses: Vec<IpAddr>,
    /// The address that the configuration gives the node (`bindAddress`); it is the primary one of its family.
    pub preferred_address: Option<IpAddr>,
    /// All addresses on its interfaces, without loopback.
    pub interface_addresses: Vec<IpAddr>,
    /// `spec.podCIDRs` of its Node.
    pub pod_cidrs: Vec<Cidr>,
    /// Ranges of the cluster's ServiceCIDRs.
    pub service_cidrs: Vec<Cidr>,
}

/// At which addresses of the node NodePorts are open, in one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodePortIps {
    /// At every address the node has or will have, but not at loopback ones unless the mode can do that.
    AnyLocal,
    /// At these.
    Only(Vec<IpAddr>),
}

/// How packets of this node's pods are told from others, in one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalPods {
    /// They are not: nothing is masqueraded for coming from elsewhere, nothing short-circuited for coming from a pod.
    Unknown,
    /// By their addresses.
    From(Vec<Cidr>),
    /// By the interface they come in by.
    Through(Interface),
}

/// Interfaces that pods are behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interface {
    /// The bridge of this name.
    Named(String),
    /// All whose names begin so.
    Prefixed(String),
}

impl<'a> Sight<'a> {
    /// The proxied ports of a Service in both families; empty if it is gone or not ours.
    pub fn ports(&self, name: &ServiceName) -> Vec<PortView<'a>> {
        self.cluster.ports(name, &self.node.viewpoint)
    }

    /// The proxied ports of all Services, in order of name, port as the Service lists them, family.
    pub fn all_ports(&self) -> Vec<PortView<'a>> {
        let mut names: Vec<_> = self.cluster.names().collect();
        names.sort_unstable();
        names.into_iter().flat_map(|name| self.ports(name)).collect()
    }

    /// How pods of this node are recognised.
    pub fn local_pods(&self, family: Family) -> LocalPods {
        let of_family = |ranges: &[Cidr]| {
            let ranges = ranges.iter().copied().filter(|range| Family::of(range.address()) == family);
            match ranges.collect::<Vec<_>>() {
                ranges if ranges.is_empty() => LocalPods::Unknown,
                ranges => LocalPods::From(ranges),
            }
        };
        match &self.config.detect_local {
            DetectLocal::ClusterCidr(ranges) => of_family(ranges),
            DetectLocal::NodeCidr => of_family(&self.node.pod_cidrs),
            DetectLocal::BridgeInterface(name) => LocalPods::Through(Interface::Named(name.clone())),
            DetectLocal::InterfaceNamePrefix(prefix) => {
                LocalPods::Through(Interface::Prefixed(prefix.clone()))
            }
        }
    }

    /// Where NodePorts are open.
    pub fn node_port_ips(&self, family: Family) -> NodePortIps {
        match self.config.node_port_addresses() {
            NodePortAddresses::All => NodePortIps::AnyLocal,
            NodePortAddresses::Primary => match self.node.primary(family) {
                Some(address) => NodePortIps::Only(vec![address]),
                // A node without a Node object: better open than unreachable.
                None if self.node.addresses.is_empty() => NodePortIps::AnyLocal,
                None => NodePortIps::Only(Vec::new()),
            },
            NodePortAddresses::Ranges(ranges) => self.within(ranges, family),
            NodePortAddresses::PrimaryAnd(ranges) => {
                let of_family = |range: &&Cidr| Family::of(range.address()) == family;
                let ranges: Vec<_> = ranges.iter().filter(of_family).copied().collect();
                let within = match ranges.is_empty() {
                    true => NodePortIps::Only(Vec::new()),
                    false => self.within(&ranges, family),
                };
                match within {
                    NodePortIps::Only(mut addresses) => {
                        addresses.extend(self.node.primary(family));
                        addresses.sort_unstable();
                        addresses.dedup();
                        NodePortIps::Only(addresses)
                    }
                    NodePortIps::AnyLocal => NodePortIps::AnyLocal,
                }
            }
        }
    }

    /// The addresses on the node's interfaces that are in these ranges.
    fn within(&self, ranges: &[Cidr], family: Family) -> NodePortIps {
        let mut ranges = ranges.iter().filter(|range| Family::of(range.address()) == family).peekable();
        // No range of a family is no restriction for it.
        if ranges.peek().is_none() || ranges.clone().any(|range| range.prefix() == 0) {
            return NodePortIps::AnyLocal;
        }
        let of_family = |address: &IpAddr| Family::of(*address) == family;
        let mut addresses: Vec<_> = self.node.interface_addresses.iter().copied().filter(of_family).collect();
        addresses.retain(|address| ranges.clone().any(|range| range.contains(*address)));
        addresses.sort_unstable();
        addresses.dedup();
        NodePortIps::Only(addresses)
    }
}

impl NodeFacts {
    /// What is known of the node before its Node object is.
    pub(crate) fn unknown(config: &Config) -> Self {
        let viewpoint = Viewpoint { node: config.node_name.clone(), zone: None };
        Self { viewpoint, preferred_address: config.node_address, ..Self::default() }
    }

    /// Takes in what the Node object says.
    pub fn see(&mut self, node: &Node) {
        self.viewpoint.zone.clone_from(&node.zone);
        self.addresses.clone_from(&node.addresses);
        self.pod_cidrs.clone_from(&node.pod_cidrs);
    }

    /// The primary address of a family.
    pub fn primary(&self, family: Family) -> Option<IpAddr> {
        let known = self.preferred_address.iter().chain(&self.addresses);
        known.copied().find(|address| Family::of(*address) == family)
    }

    /// Whether an address is the node's own, loopback ones included.
    pub fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback()
            || self.interface_addresses.contains(&address)
            || self.addresses.contains(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iptables::scene::Scene;

    /// Where IPv4 NodePorts are open on a node with these addresses on its interfaces, the first of which its Node
    /// object has.
    fn open(given: NodePortAddresses, change: impl Fn(&mut Scene)) -> Option<Vec<String>> {
        let mut scene = Scene::new(&[]);
        scene.node.interface_addresses =
            ["192.168.0.2", "198.51.100.2"].map(|address| address.parse().unwrap()).to_vec();
        scene.config.node_port_addresses = Some(given);
        change(&mut scene);
        match scene.sight().node_port_ips(Family::V4) {
            NodePortIps::AnyLocal => None,
            NodePortIps::Only(addresses) => Some(addresses.iter().map(ToString::to_string).collect()),
        }
    }

    fn ranges(texts: &[&str]) -> Vec<Cidr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn node_ports_are_open_at_the_primary_address_and_in_ranges_as_configured() {
        let only = |addresses: &[&str]| Some(addresses.iter().map(ToString::to_string).collect::<Vec<_>>());
        let both = |texts: &[&str]| open(NodePortAddresses::PrimaryAnd(ranges(texts)), |_| ());
        assert_eq!(open(NodePortAddresses::Primary, |_| ()), only(&["192.168.0.2"]));
        assert_eq!(both(&["127.0.0.0/8", "::1/128"]), only(&["192.168.0.2"]));
        assert_eq!(both(&["198.51.100.0/24"]), only(&["192.168.0.2", "198.51.100.2"]));
        assert_eq!(
            both(&["::1/128"]),
            only(&["192.168.0.2"]),
            "a family without a range has the primary one"
        );
        assert_eq!(both(&["0.0.0.0/0"]), None);
        let elsewhere = ranges(&["127.0.0.0/8"]);
        assert_eq!(open(NodePortAddresses::Ranges(elsewhere), |_| ()), only(&[]));
    }

    #[test]
    fn a_configured_address_is_the_primary_one_of_its_family() {
        let prefer = |scene: &mut Scene| scene.node.preferred_address = "198.51.100.2".parse().ok();
        assert_eq!(open(NodePortAddresses::Primary, prefer), Some(vec!["198.51.100.2".to_owned()]));
    }
}
