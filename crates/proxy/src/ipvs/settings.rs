//! What is the same for all Services.

use std::collections::BTreeSet;
use std::net::IpAddr;

use service::Family;
use service::objects::Scheduler;

use crate::sight::{NodePortIps, Sight};
use crate::xtables::Platform;
use crate::xtables::Settings as Common;

/// What a family's rules need to know beside their Services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// What iptables mode has to know as well.
    pub(crate) common: Common,
    /// The scheduler of Services that choose none.
    pub(crate) scheduler: Scheduler,
    /// Addresses at which NodePorts are open. Each has a virtual server of its own for each of them.
    pub(crate) node_port_ips: Vec<IpAddr>,
    /// Addresses of the node, which must not be on our interface as well.
    pub(crate) own: BTreeSet<IpAddr>,
}

impl Settings {
    pub(crate) fn of(sight: &Sight<'_>, family: Family, platform: Platform) -> Self {
        let usable = |address: &IpAddr| {
            let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
            Family::of(*address) == family && !address.is_loopback() && !link_local
        };
        let own: BTreeSet<_> = sight.node.interface_addresses.iter().copied().filter(usable).collect();
        let node_port_ips = match sight.node_port_ips(family) {
            NodePortIps::AnyLocal => own.iter().copied().collect(),
            NodePortIps::Only(addresses) => addresses.into_iter().filter(usable).collect(),
        };
        Self {
            common: Common::of(sight, family, platform),
            // A word that is none is refused where the configuration is read.
            scheduler: sight.config.ipvs.scheduler.parse().unwrap_or_default(),
            node_port_ips,
            own,
        }
    }
}
