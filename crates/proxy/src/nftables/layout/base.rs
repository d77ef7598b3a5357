//! What is the same for every cluster: table, base chains and their rules.

use std::collections::BTreeMap;
use std::net::IpAddr;

use nfnetlink::expr::{CtKey, FibAddress, LookupResult, MetaKey, RTN_LOCAL, Reject, ct_state, ct_status};
use nfnetlink::{
    Chain, ChainType, Element, Expr, Hook, Rule, Table, Transaction, Verdict, priority, range_elements,
};
use service::{Cidr, Family};

use super::sets::{
    CLUSTER_CIDRS, CLUSTER_IPS, HAIRPINS, NO_ENDPOINT_IPS, NO_ENDPOINT_NODE_PORTS, NODE_PORT_IPS, NODE_PORTS,
    SERVICE_IPS,
};
use super::{Address, KEY, address_words, all_sets, change_mark, key_register, load_address};
use super::{load_protocol_and_port, load_service_ip, mark, only};
use crate::nftables::settings::Settings;
use crate::sight::{LocalPods, NodePortIps};

/// The protocol number of TCP.
const TCP: u8 = 6;

const SERVICES: &str = "services";
const NO_ENDPOINTS: &str = "no-endpoints";
const REJECT: &str = "reject-now";

/// The proxy's table; nobody else may write to it.
pub fn table() -> Table {
    Table {
        comment: "Services, by portolan proxy".to_owned(),
        ..Table::new(nfnetlink::Family::Inet, "portolan")
    }
}

/// Adds what is the same for every cluster to a transaction: sets with the configured elements, base chains and
/// their rules. The table must be there and empty.
pub fn base(batch: &mut impl Transaction, settings: &Settings) {
    let table = table();
    all_sets().for_each(|set| batch.add_set(&table, set));
    for family in Family::ALL {
        batch.add_elements(&table, CLUSTER_CIDRS.name(family), &cluster_cidrs(settings, family));
        if let NodePortIps::Only(addresses) = settings.node_ports(family) {
            batch.add_elements(&table, NODE_PORT_IPS.name(family), &node_port_ips(addresses));
        }
    }
    for chain in chains() {
        batch.add_chain(&table, &chain);
    }
    for rule in rules(settings) {
        batch.add_rule(&table, &rule);
    }
}

/// How many rules each chain has that is the same for every cluster.
pub fn rule_counts(settings: &Settings) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for rule in rules(settings) {
        *counts.entry(rule.chain).or_default() += 1;
    }
    counts
}

fn chains() -> Vec<Chain> {
    let nat = |name: &str, hook, priority| Chain::base(name, ChainType::Nat, hook, priority);
    let filter = |name: &str, hook| Chain::base(name, ChainType::Filter, hook, priority::FILTER);
    vec![
        Chain::regular(SERVICES),
        Chain::regular(NO_ENDPOINTS),
        Chain::regular(REJECT),
        nat("nat-prerouting", Hook::Prerouting, priority::DSTNAT),
        nat("nat-output", Hook::Output, priority::DSTNAT),
        nat("nat-postrouting", Hook::Postrouting, priority::SRCNAT),
        filter("filter-input", Hook::Input),
        filter("filter-forward", Hook::Forward),
        filter("filter-output", Hook::Output),
    ]
}

fn rules(settings: &Settings) -> Vec<Rule> {
    let mut rules = Vec::new();
    for chain in ["nat-prerouting", "nat-output"] {
        rules.push(Rule::new(chain, vec![jump(SERVICES)]));
    }
    for chain in ["filter-input", "filter-forward", "filter-output"] {
        let mut expressions = ct_bits(CtKey::State, ct_state::NEW).to_vec();
        expressions.push(jump(NO_ENDPOINTS));
        rules.push(Rule::new(chain, expressions));
    }
    for family in Family::ALL {
        rules.extend(masquerade_from_outside(settings, family));
        rules.push(Rule::new(
            SERVICES,
            look_up(only(family).to_vec(), load_service_ip(family), SERVICE_IPS.name(family)),
        ));
        rules.push(Rule::new(
            SERVICES,
            look_up(
                to_node_port(settings, family),
                load_protocol_and_port(KEY).to_vec(),
                NODE_PORTS.name(family),
            ),
        ));
        rules.extend(reject_without_endpoints(settings, family));
    }
    rules.extend(reject());
    rules.extend(postrouting(settings));
    rules
}

/// Cluster IPs answer clients that are no pods from this node's address, since the answers of a pod on another
/// node would not come back through here.
fn masquerade_from_outside(settings: &Settings, family: Family) -> Option<Rule> {
    if cluster_cidrs(settings, family).is_empty() {
        return None;
    }
    let mut expressions = only(family).to_vec();
    expressions.extend([
        load_address(family, Address::Destination, KEY),
        Expr::Lookup { set: CLUSTER_IPS.name(family).into(), from: KEY, result: LookupResult::Contained },
        load_address(family, Address::Source, KEY),
        Expr::Lookup {
            set: CLUSTER_CIDRS.name(family).into(),
            from: KEY,
            result: LookupResult::NotContained,
        },
    ]);
    expressions.extend(mark(settings.masquerade_mark));
    Some(Rule::new(SERVICES, expressions).comment("masquerade cluster IP traffic from outside the cluster"))
}

fn look_up(mut expressions: Vec<Expr>, key: Vec<Expr>, map: &'static str) -> Vec<Expr> {
    expressions.extend(key);
    expressions.push(Expr::Lookup { set: map.into(), from: KEY, result: LookupResult::Verdict });
    expressions
}

/// The rule goes on only for packets to an address at which node ports are open.
fn to_node_port(settings: &Settings, family: Family) -> Vec<Expr> {
    let mut expressions = only(family).to_vec();
    match settings.node_ports(family) {
        NodePortIps::AnyLocal => {
            expressions.extend([
                Expr::FibType { address: FibAddress::Destination, to: KEY },
                Expr::Compare { from: KEY, equal: true, value: RTN_LOCAL.to_ne_bytes().to_vec() },
                load_address(family, Address::Destination, KEY),
            ]);
            // 127.0.0.0/8 by its first byte; nft shows such a comparison as a prefix.
            let loopback = match family {
                Family::V4 => {
                    if let Some(Expr::Payload { length, .. }) = expressions.last_mut() {
                        *length = 1;
                    }
                    vec![127]
                }
                Family::V6 => std::net::Ipv6Addr::LOCALHOST.octets().to_vec(),
            };
            expressions.push(Expr::Compare { from: KEY, equal: false, value: loopback });
        }
        NodePortIps::Only(_) => expressions.extend([
            load_address(family, Address::Destination, KEY),
            Expr::Lookup {
                set: NODE_PORT_IPS.name(family).into(),
                from: KEY,
                result: LookupResult::Contained,
            },
        ]),
    }
    expressions
}

fn reject_without_endpoints(settings: &Settings, family: Family) -> [Rule; 3] {
    let matching = |mut expressions: Vec<Expr>, key: Vec<Expr>, set: &'static str| {
        expressions.extend(key);
        expressions.push(Expr::Lookup { set: set.into(), from: KEY, result: LookupResult::Contained });
        expressions.push(Expr::Verdict(Verdict::Goto(REJECT.to_owned())));
        Rule::new(NO_ENDPOINTS, expressions)
    };
    let family_only = only(family).to_vec();
    let address = vec![load_address(family, Address::Destination, KEY)];
    [
        matching(family_only.clone(), load_service_ip(family), NO_ENDPOINT_IPS.name(family)),
        matching(
            to_node_port(settings, family),
            load_protocol_and_port(KEY).to_vec(),
            NO_ENDPOINT_NODE_PORTS.name(family),
        ),
        matching(family_only, address, CLUSTER_IPS.name(family))
            .comment("ports that the Service does not have"),
    ]
}

fn reject() -> [Rule; 2] {
    let tcp = vec![
        Expr::Meta { key: MetaKey::L4Proto, to: KEY },
        Expr::Compare { from: KEY, equal: true, value: vec![TCP] },
        Expr::Reject(Reject::TcpReset),
    ];
    [Rule::new(REJECT, tcp), Rule::new(REJECT, vec![Expr::Reject(Reject::PortUnreachable)])]
}

fn postrouting(settings: &Settings) -> Vec<Rule> {
    const CHAIN: &str = "nat-postrouting";
    let bit = settings.masquerade_mark;
    let masquerade = Expr::Masquerade { fully_random: true };
    let mut marked = vec![
        Expr::Meta { key: MetaKey::Mark, to: KEY },
        Expr::bitwise(KEY, KEY, bit, 0),
        Expr::Compare { from: KEY, equal: false, value: vec![0; 4] },
    ];
    marked.extend(change_mark(u32::MAX, bit));
    marked.push(masquerade.clone());
    let mut rules = vec![Rule::new(CHAIN, marked).comment("masquerade marked connections")];
    for family in Family::ALL {
        let words = address_words(family);
        let mut expressions = only(family).to_vec();
        expressions.extend(ct_bits(CtKey::Status, ct_status::DST_NAT));
        expressions.push(load_address(family, Address::Source, KEY));
        expressions.push(load_address(family, Address::Destination, key_register(words)));
        expressions.extend(load_protocol_and_port(key_register(2 * words)));
        expressions.push(Expr::Lookup {
            set: HAIRPINS.name(family).into(),
            from: KEY,
            result: LookupResult::Contained,
        });
        expressions.push(masquerade.clone());
        rules.push(Rule::new(CHAIN, expressions).comment("masquerade endpoints that meet themselves"));
    }
    rules
}

fn jump(chain: &str) -> Expr {
    Expr::Verdict(Verdict::Jump(chain.to_owned()))
}

/// The rule goes on if any of these bits of a fact about the connection is set.
fn ct_bits(key: CtKey, bits: u32) -> [Expr; 3] {
    [
        Expr::Ct { key, to: KEY },
        Expr::bitwise(KEY, KEY, bits, 0),
        Expr::Compare { from: KEY, equal: false, value: vec![0; 4] },
    ]
}

/// Starts and ends of the configured ranges of pods.
fn cluster_cidrs(settings: &Settings, family: Family) -> Vec<Element> {
    let ranges = match settings.pods(family) {
        LocalPods::From(ranges) => ranges.as_slice(),
        LocalPods::Unknown | LocalPods::Through(_) => &[],
    };
    let length = match family {
        Family::V4 => 4,
        Family::V6 => 16,
    };
    range_elements(ranges.iter().map(Cidr::bounds), length)
}

fn node_port_ips(addresses: &[IpAddr]) -> Vec<Element> {
    addresses.iter().map(|address| Element::key(super::elements::octets(*address))).collect()
}
