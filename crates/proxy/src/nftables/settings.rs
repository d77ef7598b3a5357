//! What the rules that are the same for all Services depend on.

use std::net::IpAddr;

use service::{Cidr, Family};

use crate::sight::{Interface, LocalPods, NodePortIps, Sight};

/// The part of a sight that base rules are made of. Another value needs other rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How pods are recognised, IPv4 and IPv6.
    pods: [Pods; 2],
    /// Whether NodePorts are open at every address of the node, IPv4 and IPv6.
    every_local: [bool; 2],
    /// The bit of the packet mark that asks for masquerading.
    pub masquerade_mark: u32,
    /// Whether cluster IP traffic is masqueraded whoever sends it.
    pub masquerade_all: bool,
}

/// How packets of pods are told from others.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pods {
    /// They are not.
    Unknown,
    /// By source addresses in a set.
    Addresses,
    /// By the interface they come in by.
    Interface {
        /// Its name, or how its name begins.
        name: String,
        /// Whether that is only the beginning.
        prefix: bool,
    },
}

impl Settings {
    /// The settings that this sight leads to.
    pub fn of(sight: &Sight<'_>) -> Self {
        Self {
            pods: Family::ALL.map(|family| match sight.local_pods(family) {
                LocalPods::Unknown => Pods::Unknown,
                LocalPods::From(_) => Pods::Addresses,
                LocalPods::Through(Interface::Named(name)) => Pods::Interface { name, prefix: false },
                LocalPods::Through(Interface::Prefixed(name)) => Pods::Interface { name, prefix: true },
            }),
            every_local: Family::ALL.map(|family| sight.node_port_ips(family) == NodePortIps::AnyLocal),
            masquerade_mark: sight.config.masquerade_mark,
            masquerade_all: sight.config.masquerade_all,
        }
    }

    /// How pods are recognised.
    pub fn pods(&self, family: Family) -> &Pods {
        &self.pods[family as usize]
    }

    /// Whether NodePorts are open at every address of the node.
    pub fn node_ports_at_every_address(&self, family: Family) -> bool {
        self.every_local[family as usize]
    }
}

/// Addresses that follow from node and configuration, not from Services. Those that rules ask about are elements of
/// sets, so a change of them needs no other rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// Ranges of pods, of both families.
    pub pods: Vec<Cidr>,
    /// Addresses at which NodePorts are open, of both families.
    pub node_ports: Vec<IpAddr>,
    /// Ranges of the ServiceCIDRs, of both families.
    pub service_cidrs: Vec<Cidr>,
    /// The node's own addresses, as far as they are known. No rule asks about them.
    pub own: Vec<IpAddr>,
}

impl Surroundings {
    /// The addresses that this sight leads to. Loopback addresses are left out: a packet to them cannot be sent on
    /// to another machine.
    pub fn of(sight: &Sight<'_>) -> Self {
        let own = sight.node.addresses.iter().chain(&sight.node.interface_addresses);
        let mut surroundings = Self {
            service_cidrs: sight.node.service_cidrs.clone(),
            own: own.copied().collect(),
            ..Self::default()
        };
        for family in Family::ALL {
            if let LocalPods::From(ranges) = sight.local_pods(family) {
                surroundings.pods.extend(ranges);
            }
            if let NodePortIps::Only(addresses) = sight.node_port_ips(family) {
                let usable = addresses.into_iter().filter(|address| !address.is_loopback());
                surroundings.node_ports.extend(usable);
            }
        }
        surroundings
    }
}
