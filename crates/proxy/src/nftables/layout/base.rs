//! What is the same for every cluster: table, base chains and their rules.

use nfnetlink::expr::{CtKey, FibAddress, LookupResult, MetaKey, RTN_LOCAL, Reject, ct_state, ct_status};
use nfnetlink::{Chain, ChainType, Expr, Hook, Rule, Table, Transaction, Verdict, priority};
use service::Family;

use super::sets::{
    CLUSTER_IPS, GUARDED_IPS, HAIRPINS, NO_ENDPOINT_IPS, NO_ENDPOINT_NODE_PORTS, NODE_PORT_IPS, NODE_PORTS,
    SERVICE_CIDRS, SERVICE_IPS, all_sets,
};
use super::{Address, KEY, address_words, change_mark, key_register, load_address};
use super::{load_protocol_and_port, load_service_ip, mark, only, pods};
use crate::nftables::settings::Settings;

/// The protocol number of TCP.
const TCP: u8 = 6;

const SERVICES: &str = "services";
const GUARD: &str = "guard";
const NO_ENDPOINTS: &str = "no-endpoints";
const NO_NODE_PORT_ENDPOINTS: &str = "no-node-port-endpoints";
const NO_SUCH_PORT: &str = "no-such-port";
const REJECT: &str = "reject-now";

/// The proxy's table; nobody else may write to it.
pub fn table() -> Table {
    Table {
        comment: "Services, by portolan proxy".to_owned(),
        ..Table::new(nfnetlink::Family::Inet, "portolan")
    }
}

/// A table that stands in while the proxy's own is replaced.
pub fn bridge_table() -> Table {
    Table { name: "portolan-bridge".to_owned(), ..table() }
}

/// Adds what is the same for every cluster to a transaction: sets, base chains and their rules. The table must be
/// there and empty.
pub fn base(transaction: &mut impl Transaction, table: &Table, settings: &Settings) {
    all_sets().for_each(|set| transaction.add_set(table, set));
    for chain in chains() {
        transaction.add_chain(table, &chain);
    }
    for rule in rules(settings) {
        transaction.add_rule(table, &rule);
    }
}

fn chains() -> Vec<Chain> {
    let nat = |name: &str, hook, priority| Chain::base(name, ChainType::Nat, hook, priority);
    let filter = |name: &str, hook, priority| Chain::base(name, ChainType::Filter, hook, priority);
    let before_dnat = priority::DSTNAT - 10;
    vec![
        Chain::regular(SERVICES),
        Chain::regular(GUARD),
        Chain::regular(NO_ENDPOINTS),
        Chain::regular(NO_NODE_PORT_ENDPOINTS),
        Chain::regular(NO_SUCH_PORT),
        Chain::regular(REJECT),
        filter("filter-prerouting", Hook::Prerouting, before_dnat),
        filter("filter-output-early", Hook::Output, before_dnat),
        nat("nat-prerouting", Hook::Prerouting, priority::DSTNAT),
        nat("nat-output", Hook::Output, priority::DSTNAT),
        nat("nat-postrouting", Hook::Postrouting, priority::SRCNAT),
        filter("filter-input", Hook::Input, priority::FILTER),
        filter("filter-forward", Hook::Forward, priority::FILTER),
        filter("filter-output", Hook::Output, priority::FILTER),
    ]
}

/// What the base chains do with packets that begin a connection. Unknown ports of cluster IPs are left alone in
/// filter-input: a packet gets there only if that address is the node's own, by mistake, and then its other ports
/// are the node's.
const NEW_CONNECTIONS: [(&str, &str); 8] = [
    ("filter-prerouting", GUARD),
    ("filter-output-early", GUARD),
    ("filter-input", NO_NODE_PORT_ENDPOINTS),
    ("filter-input", NO_ENDPOINTS),
    ("filter-forward", NO_ENDPOINTS),
    ("filter-forward", NO_SUCH_PORT),
    ("filter-output", NO_ENDPOINTS),
    ("filter-output", NO_SUCH_PORT),
];

fn rules(settings: &Settings) -> Vec<Rule> {
    let mut rules = Vec::new();
    for chain in ["nat-prerouting", "nat-output"] {
        rules.push(Rule::new(chain, vec![jump(SERVICES)]));
    }
    for (chain, target) in NEW_CONNECTIONS {
        let mut expressions = ct_bits(CtKey::State, ct_state::NEW).to_vec();
        expressions.push(jump(target));
        rules.push(Rule::new(chain, expressions));
    }
    for family in Family::ALL {
        rules.extend(masquerade_cluster_ips(settings, family));
        let family_only = || only(family).to_vec();
        let node_port = load_protocol_and_port(KEY).to_vec();
        rules.extend([
            Rule::new(SERVICES, look_up(family_only(), load_service_ip(family), SERVICE_IPS.name(family))),
            Rule::new(SERVICES, look_up(to_node_port(settings, family), node_port, NODE_PORTS.name(family))),
            Rule::new(GUARD, look_up(family_only(), load_service_ip(family), GUARDED_IPS.name(family))),
        ]);
        rules.extend(reject_without_endpoints(settings, family));
    }
    rules.extend(reject());
    rules.extend(postrouting(settings));
    rules
}

/// Cluster IPs answer clients that are no pods from this node's address, since the answers of a pod on another
/// node would not come back through here.
fn masquerade_cluster_ips(settings: &Settings, family: Family) -> Option<Rule> {
    let (mut expressions, comment) = match settings.masquerade_all {
        true => (only(family).to_vec(), "masquerade all cluster IP traffic"),
        false => (pods(settings, family, false)?, "masquerade cluster IP traffic from outside the cluster"),
    };
    expressions.extend([
        load_address(family, Address::Destination, KEY),
        Expr::contained(CLUSTER_IPS.name(family), KEY),
    ]);
    expressions.extend(mark(settings.masquerade_mark));
    Some(Rule::new(SERVICES, expressions).comment(comment))
}

fn look_up(mut expressions: Vec<Expr>, key: Vec<Expr>, map: &'static str) -> Vec<Expr> {
    expressions.extend(key);
    expressions.push(Expr::Lookup { set: map.into(), from: KEY, result: LookupResult::Verdict });
    expressions
}

/// The rule goes on only for packets to an address at which node ports are open.
fn to_node_port(settings: &Settings, family: Family) -> Vec<Expr> {
    let mut expressions = only(family).to_vec();
    match settings.node_ports_at_every_address(family) {
        true => {
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
        false => expressions.extend([
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

/// New connections to what has no endpoints or is not there. (A packet that went to an endpoint has another
/// destination by then.)
fn reject_without_endpoints(settings: &Settings, family: Family) -> [Rule; 4] {
    let matching = |chain, mut expressions: Vec<Expr>, key: Vec<Expr>, set: &'static str, verdict| {
        expressions.extend(key);
        expressions.extend([Expr::contained(set, KEY), Expr::Verdict(verdict)]);
        Rule::new(chain, expressions)
    };
    let family_only = || only(family).to_vec();
    let reject = || Verdict::Goto(REJECT.to_owned());
    let address = || vec![load_address(family, Address::Destination, KEY)];
    let node_port = load_protocol_and_port(KEY).to_vec();
    let unknown_ip = "addresses that no Service has";
    [
        matching(
            NO_ENDPOINTS,
            family_only(),
            load_service_ip(family),
            NO_ENDPOINT_IPS.name(family),
            reject(),
        ),
        matching(
            NO_NODE_PORT_ENDPOINTS,
            to_node_port(settings, family),
            node_port,
            NO_ENDPOINT_NODE_PORTS.name(family),
            reject(),
        ),
        matching(NO_SUCH_PORT, family_only(), address(), CLUSTER_IPS.name(family), reject())
            .comment("ports that the Service does not have"),
        matching(NO_SUCH_PORT, family_only(), address(), SERVICE_CIDRS.name(family), Verdict::Drop)
            .comment(unknown_ip),
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
pub(in crate::nftables) fn ct_bits(key: CtKey, bits: u32) -> [Expr; 3] {
    [
        Expr::Ct { key, to: KEY },
        Expr::bitwise(KEY, KEY, bits, 0),
        Expr::Compare { from: KEY, equal: false, value: vec![0; 4] },
    ]
}
