//! What the proxy must be told.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use service::{Cidr, Family};

/// Bit 14 of the packet mark, kube-proxy's default.
const MASQUERADE_MARK: u32 = 1 << 14;
/// kube-proxy's default for all modes.
pub(crate) const SYNC_PERIOD: Duration = Duration::from_secs(30);

/// How a node's proxy is to work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The Node this proxy works on.
    pub node_name: Arc<str>,
    /// The node's own address, in place of the primary one of that family that its Node object says.
    pub node_address: Option<IpAddr>,
    /// By what means connections are brought to endpoints.
    pub mode: ModeName,
    /// How packets of pods are recognised. ClusterIP traffic from elsewhere is masqueraded.
    pub detect_local: DetectLocal,
    /// At which addresses of the node its NodePorts are open; the mode's default if not given.
    pub node_port_addresses: Option<NodePortAddresses>,
    /// The bit of the packet mark that stands for "to be masqueraded" between two hooks.
    pub masquerade_mark: u32,
    /// Whether all ClusterIP traffic is masqueraded.
    pub masquerade_all: bool,
    /// Whether NodePorts are open at 127.0.0.1, and at ::1 where the mode can do that (nftables and userspace mode).
    /// iptables mode sets `route_localnet` in the kernel for it.
    pub localhost_node_ports: bool,
    /// Whether packets that belong to no connection are dropped (iptables and ipvs mode); not with
    /// `conntrack.tcpBeLiberal`.
    pub drop_invalid: bool,
    /// In nftables mode, kube-proxy's layout in place of ours, for audit.
    pub kube_proxy_layout: bool,
    /// How often modes that are not told of it look whether somebody removed their rules.
    pub sync_period: Duration,
    /// How long to wait between two changes of rules. Those that come meanwhile share the next.
    pub min_sync_period: Duration,
    /// The settings of ipvs mode.
    pub ipvs: IpvsConfig,
    /// Addresses of the cluster's DNS whose queries stay on the node while a server listens there.
    pub node_local_dns: Vec<IpAddr>,
}

/// The modes of the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ModeName {
    /// nf_tables over netlink.
    #[default]
    Nftables,
    /// kube-proxy's chains by iptables-restore.
    Iptables,
    /// Virtual servers of the kernel's IPVS.
    Ipvs,
    /// A proxy in this process.
    Userspace,
}

/// How packets of this node's pods are told from others (`detectLocalMode`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DetectLocal {
    /// They come from these ranges; without any range, none is recognised.
    ClusterCidr(Vec<Cidr>),
    /// They come from the Node's `spec.podCIDRs`.
    NodeCidr,
    /// They come in by this bridge.
    BridgeInterface(String),
    /// They come in by interfaces whose names begin so.
    InterfaceNamePrefix(String),
}

/// At which addresses NodePorts are open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// At all addresses the node has, now or later.
    All,
    /// At the node's primary address of each family.
    Primary,
    /// At the addresses on its interfaces that are in these ranges.
    Ranges(Vec<Cidr>),
    /// At the node's primary address of each family, and at those that are in these ranges (KEP-6032).
    PrimaryAnd(Vec<Cidr>),
}

impl NodePortAddresses {
    /// Whether one must know what addresses the node's interfaces have.
    pub(crate) fn depends_on_interfaces(&self) -> bool {
        match self {
            Self::All | Self::Primary => false,
            Self::Ranges(_) | Self::PrimaryAnd(_) => true,
        }
    }

    /// Whether one of the ranges that are named has this address; `None` if no range of its family restricts it.
    pub(crate) fn names(&self, address: IpAddr) -> Option<bool> {
        let (ranges, restricted) = match self {
            Self::All => return None,
            Self::Primary => return Some(false),
            Self::Ranges(ranges) => (ranges, false),
            Self::PrimaryAnd(ranges) => (ranges, true),
        };
        let mut ranges =
            ranges.iter().filter(|range| Family::of(range.address()) == Family::of(address)).peekable();
        // No range of a family is no restriction for it.
        let restricted = restricted || ranges.peek().is_some();
        restricted.then(|| ranges.any(|range| range.contains(address)))
    }
}

/// The settings of ipvs mode.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IpvsConfig {
    /// The scheduler of Services that choose none, such as `rr`; empty for that.
    pub scheduler: String,
    /// Virtual servers in these ranges are left alone.
    pub exclude_cidrs: Vec<Cidr>,
    /// Whether the node answers ARP only for addresses of the interface that is asked.
    pub strict_arp: bool,
    /// Idle seconds after which an established TCP connection is forgotten; 0 leaves the kernel's setting.
    pub tcp_timeout: u32,
    /// The same after a FIN.
    pub tcp_fin_timeout: u32,
    /// The same for UDP.
    pub udp_timeout: u32,
}

impl Config {
    /// The usual settings for the proxy of this node.
    pub fn new(node_name: impl Into<Arc<str>>, cluster_cidrs: Vec<Cidr>) -> Self {
        Self {
            node_name: node_name.into(),
            node_address: None,
            mode: ModeName::default(),
            detect_local: DetectLocal::ClusterCidr(cluster_cidrs),
            node_port_addresses: None,
            masquerade_mark: MASQUERADE_MARK,
            masquerade_all: false,
            localhost_node_ports: true,
            drop_invalid: true,
            kube_proxy_layout: false,
            sync_period: SYNC_PERIOD,
            min_sync_period: Duration::ZERO,
            ipvs: IpvsConfig::default(),
            node_local_dns: Vec::new(),
        }
    }

    /// At which addresses NodePorts are open: what was asked for, else kube-proxy's default for the mode.
    pub fn node_port_addresses(&self) -> &NodePortAddresses {
        self.node_port_addresses.as_ref().unwrap_or(match self.mode {
            ModeName::Nftables => &NodePortAddresses::Primary,
            ModeName::Iptables | ModeName::Ipvs | ModeName::Userspace => &NodePortAddresses::All,
        })
    }
}

impl ModeName {
    /// All modes.
    pub const ALL: [Self; 4] = [Self::Nftables, Self::Iptables, Self::Ipvs, Self::Userspace];
}

impl fmt::Display for ModeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
            Self::Ipvs => "ipvs",
            Self::Userspace => "userspace",
        })
    }
}

impl FromStr for ModeName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mode = Self::ALL.into_iter().find(|mode| mode.to_string() == text);
        mode.ok_or_else(|| format!("{text:?} is no mode; modes are nftables, iptables, ipvs and userspace"))
    }
}
