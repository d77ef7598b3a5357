//! Chains and rules that are there whatever Services there are.

use std::fmt;

use service::Family;

use crate::sight::NodePortIps;
use crate::xtables::Lines;
use crate::xtables::Settings;

/// A rule of a built-in chain that leads into one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Jump {
    pub(crate) table: &'static str,
    pub(crate) to: &'static str,
    pub(crate) from: &'static str,
    comment: &'static str,
    new_only: bool,
    /// Whether the kubelet makes the same jump, so that it is not ours to remove.
    pub(crate) shared: bool,
}

const fn jump(table: &'static str, to: &'static str, from: &'static str, comment: &'static str) -> Jump {
    Jump { table, to, from, comment, new_only: false, shared: false }
}

const fn for_new(jump: Jump) -> Jump {
    Jump { new_only: true, ..jump }
}

const fn shared(jump: Jump) -> Jump {
    Jump { shared: true, ..jump }
}

const EXTERNAL_PORTALS: &str = "kubernetes externally-visible service portals";
const PORTALS: &str = "kubernetes service portals";
const BALANCER_FIREWALL: &str = "kubernetes load balancer firewall";

/// All of them in the order in which they are put before what is there, so that the last one comes first.
pub(crate) const JUMPS: [Jump; 14] = [
    for_new(jump("filter", "KUBE-EXTERNAL-SERVICES", "INPUT", EXTERNAL_PORTALS)),
    for_new(jump("filter", "KUBE-EXTERNAL-SERVICES", "FORWARD", EXTERNAL_PORTALS)),
    jump("filter", "KUBE-NODEPORTS", "INPUT", "kubernetes health check service ports"),
    for_new(jump("filter", "KUBE-SERVICES", "FORWARD", PORTALS)),
    for_new(jump("filter", "KUBE-SERVICES", "OUTPUT", PORTALS)),
    jump("filter", "KUBE-FORWARD", "FORWARD", "kubernetes forwarding rules"),
    for_new(jump("filter", "KUBE-PROXY-FIREWALL", "INPUT", BALANCER_FIREWALL)),
    for_new(jump("filter", "KUBE-PROXY-FIREWALL", "OUTPUT", BALANCER_FIREWALL)),
    for_new(jump("filter", "KUBE-PROXY-FIREWALL", "FORWARD", BALANCER_FIREWALL)),
    jump("nat", "KUBE-SERVICES", "OUTPUT", PORTALS),
    jump("nat", "KUBE-SERVICES", "PREROUTING", PORTALS),
    jump("nat", "KUBE-POSTROUTING", "POSTROUTING", "kubernetes postrouting rules"),
    shared(jump("filter", SHARED_CHAIN, "INPUT", "")),
    shared(jump("filter", SHARED_CHAIN, "OUTPUT", "")),
];

/// Our chains of the filter table that every sync writes, in kube-proxy's order.
pub(crate) const FILTER_CHAINS: [&str; 5] =
    ["KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL"];
/// The same of the nat table.
pub(crate) const NAT_CHAINS: [&str; 4] =
    ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"];

/// The chain of the filter table that the kubelet makes as well, with the same rule.
pub(crate) const SHARED_CHAIN: &str = "KUBE-FIREWALL";

impl fmt::Display for Jump {
    /// Its arguments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.new_only {
            write!(f, "-m conntrack --ctstate NEW ")?;
        }
        if !self.comment.is_empty() {
            write!(f, "-m comment --comment \"{}\" ", self.comment)?;
        }
        write!(f, "-j {}", self.to)
    }
}

impl Settings {
    /// Chains of the filter table.
    pub(crate) fn filter_chains(&self) -> impl Iterator<Item = &'static str> {
        FILTER_CHAINS.into_iter().chain(self.localhost_node_ports.then_some(SHARED_CHAIN))
    }

    /// Chains of the nat table.
    pub(crate) fn nat_chains(&self) -> impl Iterator<Item = &'static str> {
        NAT_CHAINS.into_iter()
    }

    /// Rules of the filter table that stand before those of Services.
    pub(crate) fn filter_head(&self) -> Lines {
        let mut lines = Lines::default();
        if self.localhost_node_ports {
            // With route_localnet a neighbour could send to 127.0.0.1 (Kubernetes issue 90259).
            lines.append(
                SHARED_CHAIN,
                "-m comment --comment \"block incoming localnet connections\" -d 127.0.0.0/8 \
                 ! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
            );
        }
        lines
    }

    /// Rules of the filter table that stand behind those of Services.
    pub(crate) fn filter_tail(&self) -> Lines {
        let mut lines = Lines::default();
        if self.drop_invalid && !self.platform.conntrack_liberal {
            // Such a packet would reach the client untranslated and end its connection (issue 74839).
            let counter = match self.platform.counts_invalid {
                true => "-m nfacct --nfacct-name ct_state_invalid_dropped_pkts ",
                false => "",
            };
            lines.append("KUBE-FORWARD", format_args!("-m conntrack --ctstate INVALID {counter}-j DROP"));
        }
        let mark = &self.mark;
        lines.append(
            "KUBE-FORWARD",
            format_args!(
                "-m comment --comment \"kubernetes forwarding rules\" -m mark --mark {mark}/{mark} -j ACCEPT"
            ),
        );
        lines.append(
            "KUBE-FORWARD",
            "-m comment --comment \"kubernetes forwarding conntrack rule\" \
             -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        );
        lines
    }

    /// Rules of the nat table that stand before those of Services.
    pub(crate) fn nat_head(&self) -> Lines {
        let mut lines = Lines::default();
        let mark = &self.mark;
        lines.append("KUBE-POSTROUTING", format_args!("-m mark ! --mark {mark}/{mark} -j RETURN"));
        // The mark would be seen again if the packet came by once more.
        lines.append("KUBE-POSTROUTING", format_args!("-j MARK --xor-mark {mark}"));
        let fully = if self.platform.random_fully { " --random-fully" } else { "" };
        lines.append(
            "KUBE-POSTROUTING",
            format_args!(
                "-m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE{fully}"
            ),
        );
        lines.append("KUBE-MARK-MASQ", format_args!("-j MARK --or-mark {mark}"));
        lines
    }

    /// Rules of the nat table that stand behind those of Services: where NodePorts are open.
    pub(crate) fn nat_tail(&self) -> Lines {
        const COMMENT: &str = "-m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in this chain\"";
        let mut lines = Lines::default();
        let mut open_at = |destination: &str| {
            lines.append("KUBE-SERVICES", format_args!("{COMMENT} {destination} -j KUBE-NODEPORTS"));
        };
        match &self.node_port_ips {
            NodePortIps::AnyLocal => open_at(match (self.family, self.localhost_node_ports) {
                (Family::V6, _) => "-m addrtype --dst-type LOCAL ! -d ::1/128",
                (Family::V4, true) => "-m addrtype --dst-type LOCAL",
                (Family::V4, false) => "-m addrtype --dst-type LOCAL ! -d 127.0.0.0/8",
            }),
            NodePortIps::Only(ips) => {
                let possible = |ip: &&std::net::IpAddr| !ip.is_loopback() || self.localhost_node_ports;
                ips.iter().filter(possible).for_each(|ip| open_at(&format!("-d {ip}")));
            }
        }
        lines
    }
}
