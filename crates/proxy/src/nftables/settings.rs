//! What the rules that are the same for all Services depend on.

use service::Family;

use crate::sight::{LocalPods, NodePortIps, Sight};

/// The part of a sight that concerns no single Service. Another value needs another table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How pods are recognised, IPv4 and IPv6.
    pods: [LocalPods; 2],
    /// Where NodePorts are open, IPv4 and IPv6.
    node_ports: [NodePortIps; 2],
    /// The bit of the packet mark that asks for masquerading.
    pub masquerade_mark: u32,
}

impl Settings {
    /// The settings that this sight leads to.
    pub fn of(sight: &Sight<'_>) -> Self {
        Self {
            pods: Family::ALL.map(|family| sight.local_pods(family)),
            node_ports: Family::ALL.map(|family| sight.node_port_ips(family)),
            masquerade_mark: sight.config.masquerade_mark,
        }
    }

    /// How pods are recognised.
    pub fn pods(&self, family: Family) -> &LocalPods {
        &self.pods[family as usize]
    }

    /// Where NodePorts are open.
    pub fn node_ports(&self, family: Family) -> &NodePortIps {
        &self.node_ports[family as usize]
    }
}
