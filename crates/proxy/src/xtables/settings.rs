//! What is the same for all Services.

use std::net::{IpAddr, Ipv4Addr};

use service::{Cidr, Family};

use crate::config::NodePortAddresses;
use crate::sight::{Interface, LocalPods, NodePortIps, Sight};
use crate::xtables::text::{Table, Tables};

/// What the node's kernel and programs can do. The default gives rules that load everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Platform {
    /// Whether `MASQUERADE --random-fully` is known (iptables 1.6.2).
    pub random_fully: bool,
    /// Whether the accounting object `ct_state_invalid_dropped_pkts` is there.
    pub counts_invalid: bool,
    /// Whether the accounting object `localhost_nps_accepted_pkts` is there.
    pub counts_localhost: bool,
    /// Whether the kernel takes packets out of a connection's window for valid, so that none need be dropped.
    pub conntrack_liberal: bool,
}

impl Platform {
    /// What the one who loaded these tables knew of the same machine.
    pub fn of(held: &Tables) -> Self {
        let rules = || held.iter().flat_map(Table::chains).flat_map(|chain| &chain.rules);
        let said = |word: &str| rules().any(|rule| rule.as_str().contains(word));
        Self {
            random_fully: rules().count() == 0 || said("--random-fully"),
            counts_invalid: said("ct_state_invalid_dropped_pkts"),
            counts_localhost: said("localhost_nps_accepted_pkts"),
            conntrack_liberal: rules().count() > 0 && !said("--ctstate INVALID"),
        }
    }
}

impl Default for Platform {
    fn default() -> Self {
        Self { random_fully: true, counts_invalid: false, counts_localhost: false, conntrack_liberal: false }
    }
}

/// What rules need to know beside their Service, in one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) family: Family,
    pub(crate) platform: Platform,
    /// The mark for "to be masqueraded", as kube-proxy writes it.
    pub(crate) mark: String,
    pub(crate) masquerade_all: bool,
    pub(crate) drop_invalid: bool,
    /// Whether NodePorts are open at 127.0.0.1.
    pub(crate) localhost_node_ports: bool,
    pub(crate) node_port_ips: NodePortIps,
    pub(crate) local_pods: LocalPods,
    /// The node's own address, 127.0.0.1 if it has none.
    pub(crate) node_ip: IpAddr,
    /// Whether there are so many endpoints that comments are too dear.
    pub(crate) large: bool,
}

impl Settings {
    /// The settings of a sight, for a cluster that is not large.
    pub(crate) fn of(sight: &Sight<'_>, family: Family, platform: Platform) -> Self {
        let localhost_node_ports =
            family == Family::V4 && sight.config.localhost_node_ports && opens_loopback(sight);
        let mut node_port_ips = sight.node_port_ips(family);
        let first_loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        if let (NodePortIps::Only(ips), true) = (&mut node_port_ips, localhost_node_ports)
            && sight.config.node_port_addresses().names(first_loopback) == Some(true)
            && !ips.contains(&first_loopback)
        {
            ips.insert(0, first_loopback);
        }
        let loopback = match family {
            Family::V4 => IpAddr::from([127, 0, 0, 1]),
            Family::V6 => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16]),
        };
        Self {
            family,
            platform,
            mark: format!("{:#08x}", sight.config.masquerade_mark),
            masquerade_all: sight.config.masquerade_all,
            drop_invalid: sight.config.drop_invalid,
            localhost_node_ports,
            node_port_ips,
            local_pods: sight.local_pods(family),
            node_ip: sight.node.primary(family).unwrap_or(loopback),
            large: false,
        }
    }

    /// Matches for packets of this node's pods, any of them; none if pods are not recognised.
    pub(crate) fn sent_by_pods(&self) -> Vec<String> {
        match &self.local_pods {
            LocalPods::Unknown => Vec::new(),
            LocalPods::From(ranges) => ranges.iter().map(|range| format!("-s {range}")).collect(),
            LocalPods::Through(interface) => vec![format!("-i {}", pattern(interface))],
        }
    }

    /// The match for packets of nobody of this node's pods; `None` if pods are not recognised.
    pub(crate) fn sent_from_elsewhere(&self) -> Option<String> {
        match &self.local_pods {
            LocalPods::Unknown => None,
            LocalPods::From(ranges) => {
                let (first, others) = ranges.split_first()?;
                // A rule has room for one `! -s`.
                let others = others.iter().map(|range| format!(" -m iprange ! --src-range {}", span(range)));
                Some(format!("! -s {first}{}", others.collect::<String>()))
            }
            LocalPods::Through(interface) => Some(format!("! -i {}", pattern(interface))),
        }
    }
}

/// Whether `nodePortAddresses` has loopback addresses in it.
fn opens_loopback(sight: &Sight<'_>) -> bool {
    match sight.config.node_port_addresses() {
        NodePortAddresses::All => true,
        NodePortAddresses::Primary => false,
        ranges @ (NodePortAddresses::Ranges(named) | NodePortAddresses::PrimaryAnd(named)) => {
            ranges.names(Ipv4Addr::new(127, 0, 0, 0).into()).unwrap_or(true)
                || named.iter().any(|range| range.address().is_loopback() && range.address().is_ipv4())
        }
    }
}

fn pattern(interface: &Interface) -> String {
    match interface {
        Interface::Named(name) => name.clone(),
        Interface::Prefixed(prefix) => format!("{prefix}+"),
    }
}

/// First and last address of a range as `iprange` takes them.
pub(crate) fn span(range: &Cidr) -> String {
    let (_, last) = range.bounds();
    let last = match range.address() {
        // An IPv4 range's bounds have 32 bits.
        IpAddr::V4(_) => IpAddr::from((last as u32).to_be_bytes()),
        IpAddr::V6(_) => IpAddr::from(last.to_be_bytes()),
    };
    format!("{}-{last}", range.address())
}
