//! What the proxy must be told.

use std::net::IpAddr;
use std::sync::Arc;

use service::Cidr;

/// Bit 14 of the packet mark, kube-proxy's default.
const MASQUERADE_MARK: u32 = 1 << 14;

/// How a node's proxy is to work.
#[derive(Debug, Clone)]
pub struct Config {
    /// The Node this proxy works on.
    pub node_name: Arc<str>,
    /// Addresses of pods. ClusterIP traffic from elsewhere is masqueraded; without any range, none is.
    pub cluster_cidrs: Vec<Cidr>,
    /// At which addresses of the node its NodePorts are open.
    pub node_port_addresses: NodePortAddresses,
    /// The bit of the packet mark that stands for "to be masqueraded" between two hooks.
    pub masquerade_mark: u32,
}

/// At which addresses NodePorts are open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// At all addresses the node has, now or later, except loopback.
    Local,
    /// At these.
    Only(Vec<IpAddr>),
}

impl Config {
    /// The usual settings for the proxy of this node.
    pub fn new(node_name: impl Into<Arc<str>>, cluster_cidrs: Vec<Cidr>) -> Self {
        Self {
            node_name: node_name.into(),
            cluster_cidrs,
            node_port_addresses: NodePortAddresses::Local,
            masquerade_mark: MASQUERADE_MARK,
        }
    }
}
