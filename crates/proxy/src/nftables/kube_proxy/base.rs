//! What is the same for every cluster (`setupNFTables`).

use nfnetlink::DataType::{InetProto, InetService};
use nfnetlink::expr::{CtKey, FibAddress, MetaKey, Reject, ct_state, ct_status};
use nfnetlink::{Chain, ChainType, Element, Expr, Hook, Set, SetContent, Verdict, priority};
use service::{Cidr, Family};

use super::writer::{Side, Writer, local, mark, vmap};
use crate::nftables::layout::{KEY, change_mark, ct_bits, key_register, load_protocol_and_port, octets};
use crate::sight::{Interface, LocalPods, NodePortIps, Sight};

pub(super) const CLUSTER_IPS: &str = "cluster-ips";
pub(super) const NODE_PORT_IPS: &str = "nodeport-ips";
pub(super) const HAIRPINS: &str = "hairpin-connections";
pub(super) const FIREWALL_IPS: &str = "firewall-ips";
pub(super) const NO_ENDPOINT_SERVICES: &str = "no-endpoint-services";
pub(super) const NO_ENDPOINT_NODE_PORTS: &str = "no-endpoint-nodeports";
pub(super) const SERVICE_IPS: &str = "service-ips";
pub(super) const SERVICE_NODE_PORTS: &str = "service-nodeports";
pub(super) const REJECT: &str = "reject-chain";

/// Base chains: name, type, hook, priority.
const BASE_CHAINS: [(&str, ChainType, Hook, i32); 8] = [
    ("filter-prerouting-pre-dnat", ChainType::Filter, Hook::Prerouting, priority::DSTNAT - 10),
    ("filter-output-pre-dnat", ChainType::Filter, Hook::Output, priority::DSTNAT - 10),
    ("filter-input", ChainType::Filter, Hook::Input, priority::FILTER),
    ("filter-forward", ChainType::Filter, Hook::Forward, priority::FILTER),
    ("filter-output", ChainType::Filter, Hook::Output, priority::FILTER),
    ("nat-prerouting", ChainType::Nat, Hook::Prerouting, priority::DSTNAT),
    ("nat-output", ChainType::Nat, Hook::Output, priority::DSTNAT),
    ("nat-postrouting", ChainType::Nat, Hook::Postrouting, priority::SRCNAT),
];

/// Jumps from base chains: to where, from where, and whether only for new connections.
const JUMPS: [(&str, &str, bool); 11] = [
    ("nodeport-endpoints-check", "filter-input", true),
    ("service-endpoints-check", "filter-input", true),
    ("service-endpoints-check", "filter-forward", true),
    ("service-endpoints-check", "filter-output", true),
    ("firewall-check", "filter-prerouting-pre-dnat", true),
    ("firewall-check", "filter-output-pre-dnat", true),
    ("services", "nat-output", false),
    ("services", "nat-prerouting", false),
    ("masquerading", "nat-postrouting", false),
    ("cluster-ips-check", "filter-forward", true),
    ("cluster-ips-check", "filter-output", true),
];

/// Adds sets, chains and rules that do not depend on Services.
pub(super) fn write(sight: &Sight<'_>, writer: &mut Writer) {
    let family = writer.family;
    let node_ports = sight.node_port_ips(family);
    sets(&node_ports, writer);
    for (name, kind, hook, priority) in BASE_CHAINS {
        writer.chain(&Chain::base(name, kind, hook, priority));
    }
    for (target, ..) in JUMPS {
        writer.chain(&Chain::regular(target));
    }
    let comment = "helper for @no-endpoint-services / @no-endpoint-nodeports".to_owned();
    writer.chain(&Chain { comment, ..Chain::regular(REJECT) });
    for (target, from, new) in JUMPS {
        let new = if new { ct_bits(CtKey::State, ct_state::NEW).to_vec() } else { Vec::new() };
        writer.rule(from, &[&new, &[Expr::Verdict(Verdict::Jump(target.to_owned()))]], "");
    }
    masquerading(sight.config.masquerade_mark, writer);
    cluster_ips_check(sight, writer);

    let code = if family == Family::V4 { 3 } else { 4 };
    writer.rule(REJECT, &[&[Expr::Reject(Reject::Unreachable(code))]], "");
    let front = writer.load_front();
    let port = load_protocol_and_port(KEY);
    writer.rule("service-endpoints-check", &[&front, &[vmap(NO_ENDPOINT_SERVICES)]], "");
    writer.rule("firewall-check", &[&front, &[vmap(FIREWALL_IPS)]], "");
    let at_node_port = at_node_port(&node_ports, writer);
    writer.rule("nodeport-endpoints-check", &[&at_node_port, &port, &[vmap(NO_ENDPOINT_NODE_PORTS)]], "");
    masquerade_cluster_ips(sight, writer);
    writer.rule("services", &[&front, &[vmap(SERVICE_IPS)]], "");
    let local = match node_ports {
        NodePortIps::AnyLocal => local(FibAddress::Destination).to_vec(),
        NodePortIps::Only(_) => Vec::new(),
    };
    writer.rule("services", &[&local, &at_node_port, &port, &[vmap(SERVICE_NODE_PORTS)]], "");
}

fn sets(node_ports: &NodePortIps, writer: &mut Writer) {
    let address = writer.address();
    let front = writer.key(&[address, InetProto, InetService]);
    let node_port = writer.key(&[InetProto, InetService]);
    let hairpin = writer.key(&[address, address, InetProto, InetService]);
    let single = writer.key(&[address]);
    let keys = SetContent::Keys;
    let verdict = SetContent::Verdict;
    let sets = [
        (CLUSTER_IPS, &single, &keys, "Active ClusterIPs"),
        (HAIRPINS, &hairpin, &keys, "service hairpin connections"),
        (FIREWALL_IPS, &front, &verdict, "destinations that are subject to LoadBalancerSourceRanges"),
        (
            NO_ENDPOINT_NODE_PORTS,
            &node_port,
            &verdict,
            "vmap to drop or reject packets to service nodeports with no endpoints",
        ),
        (
            NO_ENDPOINT_SERVICES,
            &front,
            &verdict,
            "vmap to drop or reject packets to services with no endpoints",
        ),
        (SERVICE_IPS, &front, &verdict, "ClusterIP, ExternalIP and LoadBalancer IP traffic"),
        (SERVICE_NODE_PORTS, &node_port, &verdict, "NodePort traffic"),
    ];
    for (name, key, content, comment) in sets {
        writer.set(&Set::new(name, key.clone(), content.clone(), comment));
    }
    if let NodePortIps::Only(addresses) = node_ports {
        writer.set(&Set::new(NODE_PORT_IPS, single, keys, "IPs that accept NodePort traffic"));
        for address in addresses.iter().filter(|address| !address.is_loopback()) {
            writer.element(NODE_PORT_IPS, Element::key(octets(*address)));
        }
    }
}

fn masquerading(bit: u32, writer: &mut Writer) {
    let masquerade = [Expr::Masquerade { fully_random: true }];
    let marked = [
        Expr::Meta { key: MetaKey::Mark, to: KEY },
        Expr::bitwise(KEY, KEY, bit, 0),
        Expr::Compare { from: KEY, equal: false, value: vec![0; 4] },
    ];
    writer.rule("masquerading", &[&marked, &change_mark(u32::MAX, bit), &masquerade], "");
    let words = writer.words();
    let mut hairpin = ct_bits(CtKey::Status, ct_status::DST_NAT).to_vec();
    hairpin.push(writer.load(Side::Source, KEY));
    hairpin.push(writer.load(Side::Destination, key_register(words)));
    hairpin.extend(load_protocol_and_port(key_register(2 * words)));
    hairpin.push(Expr::contained(HAIRPINS, KEY));
    writer.rule("masquerading", &[&hairpin, &masquerade], "");
}

fn to_cluster_ip(writer: &Writer) -> [Expr; 2] {
    [writer.load(Side::Destination, KEY), Expr::contained(CLUSTER_IPS, KEY)]
}

fn cluster_ips_check(sight: &Sight<'_>, writer: &mut Writer) {
    let code = if writer.family == Family::V4 { 3 } else { 4 };
    let reject = [Expr::Reject(Reject::Unreachable(code))];
    let comment = "Reject traffic to invalid ports of ClusterIPs";
    writer.rule("cluster-ips-check", &[&to_cluster_ip(writer), &reject], comment);
    let family = writer.family;
    let of_family = |range: &&Cidr| Family::of(range.address()) == family;
    let ranges: Vec<_> = sight.node.service_cidrs.iter().filter(of_family).copied().collect();
    if !ranges.is_empty() {
        let unallocated = writer.in_set(Side::Destination, &ranges, true);
        let drop = [Expr::Verdict(Verdict::Drop)];
        writer.rule("cluster-ips-check", &[&unallocated, &drop], "Drop traffic to unallocated ClusterIPs");
    }
}

/// The rule goes on only at addresses with node ports.
fn at_node_port(node_ports: &NodePortIps, writer: &mut Writer) -> Vec<Expr> {
    match node_ports {
        NodePortIps::Only(_) => {
            vec![writer.load(Side::Destination, KEY), Expr::contained(NODE_PORT_IPS, KEY)]
        }
        NodePortIps::AnyLocal => {
            let loopback = match writer.family {
                Family::V4 => Cidr::new(std::net::Ipv4Addr::LOCALHOST.into(), 8),
                Family::V6 => Cidr::new(std::net::Ipv6Addr::LOCALHOST.into(), 128),
            };
            writer.within(Side::Destination, loopback.as_slice(), false)
        }
    }
}

fn masquerade_cluster_ips(sight: &Sight<'_>, writer: &mut Writer) {
    let (foreign, comment) = match (sight.config.masquerade_all, from_pods(sight, writer, false)) {
        (true, _) => (Vec::new(), "masquerade all clusterIP traffic"),
        (false, Some(foreign)) => (foreign, "masquerade clusterIP traffic from outside cluster"),
        (false, None) => return,
    };
    let mark = mark(sight.config.masquerade_mark);
    writer.rule("services", &[&to_cluster_ip(writer), &foreign, &mark], comment);
}

/// The rule goes on only for packets of pods, or only for those of others; `None` if they cannot be told.
pub(super) fn from_pods(sight: &Sight<'_>, writer: &mut Writer, wanted: bool) -> Option<Vec<Expr>> {
    let interface = |value: Vec<u8>| {
        vec![
            Expr::Meta { key: MetaKey::InterfaceName, to: KEY },
            Expr::Compare { from: KEY, equal: wanted, value },
        ]
    };
    match sight.local_pods(writer.family) {
        LocalPods::Unknown => None,
        LocalPods::From(ranges) => Some(writer.within(Side::Source, &ranges, wanted)),
        LocalPods::Through(Interface::Prefixed(prefix)) => Some(interface(prefix.into_bytes())),
        LocalPods::Through(Interface::Named(name)) => {
            let mut value = name.into_bytes();
            value.resize(nfnetlink::DataType::InterfaceName.size() as usize, 0);
            Some(interface(value))
        }
    }
}
