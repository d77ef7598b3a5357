//! Chains that are there whatever Services there are. Those of the nat table, and the one for packets from
//! elsewhere, are named as in kube-proxy's userspace mode (removed in Kubernetes 1.26).

use std::net::IpAddr;

use service::Family;

use crate::sight::NodePortIps;
use crate::xtables::Settings;

/// Packets that come in, to addresses of Services.
pub(super) const PORTALS_CONTAINER: &str = "KUBE-PORTALS-CONTAINER";
/// Packets that begin on the node, to addresses of Services.
pub(super) const PORTALS_HOST: &str = "KUBE-PORTALS-HOST";
/// Packets that come in, to NodePorts.
pub(super) const NODE_PORT_CONTAINER: &str = "KUBE-NODEPORT-CONTAINER";
/// Packets that begin on the node, to NodePorts.
pub(super) const NODE_PORT_HOST: &str = "KUBE-NODEPORT-HOST";
/// Packets that were sent on to a proxy port; nobody else may come in there.
pub(super) const NON_LOCAL: &str = "KUBE-NODEPORT-NON-LOCAL";
/// Packets to Services that go nowhere.
pub(super) const REFUSED: &str = "KUBE-PORTALS-REFUSED";

/// Our chains of the nat table.
pub(crate) const NAT_CHAINS: [&str; 4] =
    [PORTALS_CONTAINER, PORTALS_HOST, NODE_PORT_CONTAINER, NODE_PORT_HOST];
/// Our chains of the filter table.
pub(crate) const FILTER_CHAINS: [&str; 2] = [REFUSED, NON_LOCAL];

/// A rule of a built-in chain that leads into one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Jump {
    pub(crate) table: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    /// Its arguments.
    pub(crate) rule: &'static str,
}

/// All of them in the order in which they are put before what is there, so that the last one comes first.
pub(crate) const JUMPS: [Jump; 6] = [
    Jump {
        table: "filter",
        from: "INPUT",
        to: NON_LOCAL,
        rule: "-m conntrack --ctstate NEW -m comment --comment \"kubernetes service proxy ports\" -j KUBE-NODEPORT-NON-LOCAL",
    },
    refused("INPUT"),
    refused("FORWARD"),
    refused("OUTPUT"),
    Jump {
        table: "nat",
        from: "OUTPUT",
        to: PORTALS_HOST,
        rule: "-m comment --comment \"kubernetes service portals\" -j KUBE-PORTALS-HOST",
    },
    Jump {
        table: "nat",
        from: "PREROUTING",
        to: PORTALS_CONTAINER,
        rule: "-m comment --comment \"kubernetes service portals\" -j KUBE-PORTALS-CONTAINER",
    },
];

const fn refused(from: &'static str) -> Jump {
    Jump {
        table: "filter",
        from,
        to: REFUSED,
        rule: "-m conntrack --ctstate NEW -m comment --comment \"kubernetes services that cannot be reached\" -j KUBE-PORTALS-REFUSED",
    }
}

/// Matches for the addresses that NodePorts are open at.
pub(super) fn node_port_places(settings: &Settings) -> Vec<String> {
    match &settings.node_port_ips {
        NodePortIps::AnyLocal => vec![
            match (settings.family, settings.localhost_node_ports) {
                (_, true) => "-m addrtype --dst-type LOCAL",
                (Family::V6, false) => "-m addrtype --dst-type LOCAL ! -d ::1/128",
                (Family::V4, false) => "-m addrtype --dst-type LOCAL ! -d 127.0.0.0/8",
            }
            .to_owned(),
        ],
        NodePortIps::Only(ips) => {
            let possible = |ip: &&IpAddr| !ip.is_loopback() || settings.localhost_node_ports;
            ips.iter().filter(possible).map(|ip| format!("-d {ip}")).collect()
        }
    }
}
