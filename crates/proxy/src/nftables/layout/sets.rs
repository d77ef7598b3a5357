//! The sets and maps, one table for both families.

use std::time::Duration;

use nfnetlink::DataType::{InetProto, InetService, Ipv4Addr, Ipv6Addr, Mark};
use nfnetlink::{KeyType, Set, SetContent};
use service::Family;

/// The IPv4 and the IPv6 set of the same purpose.
#[derive(Debug)]
pub(super) struct SetPair([Set; 2]);

impl SetPair {
    /// The set of this family.
    fn of(&self, family: Family) -> &Set {
        match family {
            Family::V4 => &self.0[0],
            Family::V6 => &self.0[1],
        }
    }

    /// The name of the set of this family.
    pub(super) fn name(&'static self, family: Family) -> &'static str {
        &self.of(family).name
    }
}

/// Names and key types of both families, what keys lead to, and a comment.
macro_rules! set_pair {
    ($(#[$doc:meta])* $constant:ident, [$v4:literal, $v6:literal], [$key4:expr, $key6:expr], [$content4:expr, $content6:expr], $comment:literal $(, $with:ident($($argument:expr),*))?) => {
        $(#[$doc])*
        pub(super) static $constant: SetPair = SetPair([
            Set::new($v4, KeyType::of(&$key4), $content4, $comment)$(.$with($($argument),*))?,
            Set::new($v6, KeyType::of(&$key6), $content6, $comment)$(.$with($($argument),*))?,
        ]);
    };
}

/// Clients that are remembered at most in each family and for each kind of list. The next one is served, but not
/// remembered.
const MOST_CLIENTS: u32 = 1 << 18;

const ENDPOINT4: SetContent = SetContent::Data(KeyType::of(&[Ipv4Addr, InetService]));
const ENDPOINT6: SetContent = SetContent::Data(KeyType::of(&[Ipv6Addr, InetService]));

set_pair!(
    /// (address . protocol . port) to the chain for its count of endpoints.
    SERVICE_IPS,
    ["service-ips", "service-ips6"],
    [[Ipv4Addr, InetProto, InetService], [Ipv6Addr, InetProto, InetService]],
    [SetContent::Verdict, SetContent::Verdict],
    "addresses of Services, and how many endpoints they have",
    counted()
);
set_pair!(
    /// (address . protocol . port . index) to endpoint.
    SERVICE_ENDPOINTS,
    ["service-endpoints", "service-endpoints6"],
    [[Ipv4Addr, InetProto, InetService, Mark], [Ipv6Addr, InetProto, InetService, Mark]],
    [ENDPOINT4, ENDPOINT6],
    "endpoints of Services, numbered",
    counted()
);
set_pair!(
    /// (protocol . node port) to the chain for its count of endpoints.
    NODE_PORTS,
    ["node-ports", "node-ports6"],
    [[InetProto, InetService], [InetProto, InetService]],
    [SetContent::Verdict, SetContent::Verdict],
    "node ports of Services, and how many endpoints they have",
    counted()
);
set_pair!(
    /// (protocol . node port . index) to endpoint.
    NODE_PORT_ENDPOINTS,
    ["node-port-endpoints", "node-port-endpoints6"],
    [[InetProto, InetService, Mark], [InetProto, InetService, Mark]],
    [ENDPOINT4, ENDPOINT6],
    "endpoints of node ports, numbered",
    counted()
);
set_pair!(
    /// (address . protocol . port) to the chain that remembers clients for the right time.
    REMEMBERING_IPS,
    ["remembering-ips", "remembering-ips6"],
    [[Ipv4Addr, InetProto, InetService], [Ipv6Addr, InetProto, InetService]],
    [SetContent::Verdict, SetContent::Verdict],
    "addresses of Services with session affinity, and for how long"
);
set_pair!(
    /// (protocol . node port) to the chain that remembers clients for the right time.
    REMEMBERING_NODE_PORTS,
    ["remembering-node-ports", "remembering-node-ports6"],
    [[InetProto, InetService], [InetProto, InetService]],
    [SetContent::Verdict, SetContent::Verdict],
    "node ports with session affinity, and for how long"
);
set_pair!(
    /// (address . protocol . port . endpoint) of Services with session affinity.
    STICKY_ENDPOINTS,
    ["sticky-endpoints", "sticky-endpoints6"],
    [[Ipv4Addr, InetProto, InetService, Ipv4Addr, InetService], [Ipv6Addr, InetProto, InetService, Ipv6Addr, InetService]],
    [SetContent::Keys, SetContent::Keys],
    "endpoints that clients stay with",
    counted()
);
set_pair!(
    /// (protocol . node port . endpoint) of Services with session affinity.
    STICKY_NODE_PORT_ENDPOINTS,
    ["sticky-node-port-endpoints", "sticky-node-port-endpoints6"],
    [[InetProto, InetService, Ipv4Addr, InetService], [InetProto, InetService, Ipv6Addr, InetService]],
    [SetContent::Keys, SetContent::Keys],
    "endpoints that clients of node ports stay with",
    counted()
);
set_pair!(
    /// The same for clients outside the cluster that stay on the node.
    STICKY_ENDPOINTS_LOCAL,
    ["sticky-endpoints-local", "sticky-endpoints-local6"],
    [[Ipv4Addr, InetProto, InetService, Ipv4Addr, InetService], [Ipv6Addr, InetProto, InetService, Ipv6Addr, InetService]],
    [SetContent::Keys, SetContent::Keys],
    "endpoints that clients stay with, from outside",
    counted()
);
set_pair!(
    /// The same for clients outside the cluster that stay on the node.
    STICKY_NODE_PORT_ENDPOINTS_LOCAL,
    ["sticky-node-port-endpoints-local", "sticky-node-port-endpoints-local6"],
    [[InetProto, InetService, Ipv4Addr, InetService], [InetProto, InetService, Ipv6Addr, InetService]],
    [SetContent::Keys, SetContent::Keys],
    "endpoints that clients of node ports stay with, from outside",
    counted()
);
set_pair!(
    /// (client . address . protocol . port) to endpoint, of node ports too. Packets write it.
    AFFINITY,
    ["affinity", "affinity6"],
    [[Ipv4Addr, Ipv4Addr, InetProto, InetService], [Ipv6Addr, Ipv6Addr, InetProto, InetService]],
    [ENDPOINT4, ENDPOINT6],
    "clients of Services with session affinity, and the endpoints they stay with",
    dynamic(Duration::ZERO, MOST_CLIENTS)
);
set_pair!(
    /// The same for clients outside the cluster that stay on the node.
    AFFINITY_LOCAL,
    ["affinity-local", "affinity-local6"],
    [[Ipv4Addr, Ipv4Addr, InetProto, InetService], [Ipv6Addr, Ipv6Addr, InetProto, InetService]],
    [ENDPOINT4, ENDPOINT6],
    "clients that stay with endpoints on this node",
    dynamic(Duration::ZERO, MOST_CLIENTS)
);
set_pair!(
    /// (address . protocol . port) to the chain that knows who may come in.
    GUARDED_IPS,
    ["guarded-ips", "guarded-ips6"],
    [[Ipv4Addr, InetProto, InetService], [Ipv6Addr, InetProto, InetService]],
    [SetContent::Verdict, SetContent::Verdict],
    "addresses of load balancers that not everybody may come to"
);
set_pair!(
    /// Ranges of the ServiceCIDRs.
    SERVICE_CIDRS,
    ["service-cidrs", "service-cidrs6"],
    [[Ipv4Addr], [Ipv6Addr]],
    [SetContent::Ranges, SetContent::Ranges],
    "ranges that cluster IPs are from; packets to those that no Service has are dropped"
);
set_pair!(
    /// (address . protocol . port) of fronts without endpoints.
    NO_ENDPOINT_IPS,
    ["no-endpoint-ips", "no-endpoint-ips6"],
    [[Ipv4Addr, InetProto, InetService], [Ipv6Addr, InetProto, InetService]],
    [SetContent::Keys, SetContent::Keys],
    "addresses of Services without endpoints"
);
set_pair!(
    /// (protocol . node port) without endpoints.
    NO_ENDPOINT_NODE_PORTS,
    ["no-endpoint-node-ports", "no-endpoint-node-ports6"],
    [[InetProto, InetService], [InetProto, InetService]],
    [SetContent::Keys, SetContent::Keys],
    "node ports of Services without endpoints"
);
set_pair!(
    /// All cluster IPs.
    CLUSTER_IPS,
    ["cluster-ips", "cluster-ips6"],
    [[Ipv4Addr], [Ipv6Addr]],
    [SetContent::Keys, SetContent::Keys],
    "cluster IPs; their other ports are rejected"
);
set_pair!(
    /// (endpoint . endpoint . protocol . port): an endpoint that was balanced to itself.
    HAIRPINS,
    ["hairpins", "hairpins6"],
    [[Ipv4Addr, Ipv4Addr, InetProto, InetService], [Ipv6Addr, Ipv6Addr, InetProto, InetService]],
    [SetContent::Keys, SetContent::Keys],
    "endpoints on this node, to masquerade those that meet themselves"
);
set_pair!(
    /// Addresses of pods.
    CLUSTER_CIDRS,
    ["cluster-cidrs", "cluster-cidrs6"],
    [[Ipv4Addr], [Ipv6Addr]],
    [SetContent::Ranges, SetContent::Ranges],
    "addresses of pods"
);
set_pair!(
    /// Addresses at which node ports are open, if not at all local ones.
    NODE_PORT_IPS,
    ["node-port-ips", "node-port-ips6"],
    [[Ipv4Addr], [Ipv6Addr]],
    [SetContent::Keys, SetContent::Keys],
    "addresses at which node ports are open"
);

/// All sets and maps of the table whatever the cluster.
pub(super) fn all_sets() -> impl Iterator<Item = &'static Set> {
    let pairs = [
        &SERVICE_IPS,
        &SERVICE_ENDPOINTS,
        &NODE_PORTS,
        &NODE_PORT_ENDPOINTS,
        &REMEMBERING_IPS,
        &REMEMBERING_NODE_PORTS,
        &STICKY_ENDPOINTS,
        &STICKY_ENDPOINTS_LOCAL,
        &STICKY_NODE_PORT_ENDPOINTS,
        &STICKY_NODE_PORT_ENDPOINTS_LOCAL,
        &AFFINITY,
        &AFFINITY_LOCAL,
        &GUARDED_IPS,
        &NO_ENDPOINT_IPS,
        &NO_ENDPOINT_NODE_PORTS,
        &CLUSTER_IPS,
        &HAIRPINS,
        &CLUSTER_CIDRS,
        &NODE_PORT_IPS,
        &SERVICE_CIDRS,
    ];
    pairs.into_iter().flat_map(|pair| &pair.0)
}
