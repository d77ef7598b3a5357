//! Chains that pick an endpoint, one per count of endpoints.

use nfnetlink::expr::{FibAddress, LookupResult, RTN_LOCAL};
use nfnetlink::{Chain, Expr, Rule, Verdict};
use service::Family;

use super::sets::{CLUSTER_CIDRS, NODE_PORT_ENDPOINTS, SERVICE_ENDPOINTS};
use super::{
    Address, KEY, address_words, key_register, load_address, load_protocol_and_port, load_service_ip,
};
use super::{mark, only};
use crate::nftables::ruleset::{Front, Range, Way};
use crate::nftables::settings::Settings;

/// A chain that picks one of so many endpoints for fronts of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PickChain {
    family: Family,
    node_port: bool,
    pick: Pick,
}

/// From which slots it picks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Pick {
    /// The same for all clients.
    Any { range: Range, masquerade: bool },
    /// Others for clients outside the cluster; see [`Way::Split`].
    Split { inside: Range, outside: Range },
}

impl PickChain {
    /// The chain that fronts of this kind with this way use; `None` if the way needs none.
    pub fn new(front: &Front, way: Way) -> Option<Self> {
        let pick = match way {
            Way::Serve { range, masquerade } => Pick::Any { range, masquerade },
            Way::Split { inside, outside } => Pick::Split { inside, outside },
            Way::Drop | Way::Reject => return None,
        };
        Some(Self { family: front.family(), node_port: matches!(front, Front::NodePort { .. }), pick })
    }

    /// One chain of each kind, whose rules show how all are written.
    pub fn samples() -> Vec<Self> {
        let range = Range { first: 1, count: 2 };
        let picks = [
            Pick::Any { range, masquerade: false },
            Pick::Any { range, masquerade: true },
            Pick::Split { inside: range, outside: range },
            Pick::Split { inside: range, outside: Range { first: 0, count: 0 } },
        ];
        let kinds = Family::ALL.into_iter().flat_map(|family| [(family, false), (family, true)]);
        kinds.flat_map(|(family, node_port)| picks.map(|pick| Self { family, node_port, pick })).collect()
    }

    /// Its name: kind, count, and the first slot if it is not 0.
    pub fn name(&self) -> String {
        let version = if self.family == Family::V4 { "" } else { "6" };
        let kind = match (self.node_port, self.pick) {
            (false, Pick::Any { masquerade: false, .. }) => "service",
            (false, Pick::Any { masquerade: true, .. }) => "external",
            (false, Pick::Split { .. }) => "external-local",
            (true, Pick::Any { masquerade: false, .. }) => "node-port-kept",
            (true, Pick::Any { masquerade: true, .. }) => "node-port",
            (true, Pick::Split { .. }) => "node-port-local",
        };
        let run = match self.pick {
            Pick::Any { range, .. } => run(range),
            Pick::Split { inside, outside } => format!("{}-of-{}", outside.count, run(inside)),
        };
        format!("{kind}{version}-{run}")
    }

    /// The chain itself.
    pub fn chain(&self) -> Chain {
        Chain::regular(self.name())
    }

    /// Its rules.
    pub fn rules(&self, settings: &Settings) -> Vec<Rule> {
        let mut rules = Vec::new();
        match self.pick {
            Pick::Any { range, masquerade } => {
                if masquerade {
                    rules.push(
                        self.rule(mark(settings.masquerade_mark)).comment("masquerade external traffic"),
                    );
                }
                rules.extend(self.pick(&[], range));
            }
            Pick::Split { inside, outside } => {
                let from_pod = only_from_pods(self.family);
                rules.extend(self.pick(&from_pod, inside));
                let from_node = only_from_node();
                let marked = [&from_node[..], &mark(settings.masquerade_mark)].concat();
                rules.push(self.rule(marked).comment("masquerade this node's own traffic"));
                rules.extend(self.pick(&from_node, inside));
                rules.extend(self.pick(&[], outside));
                if outside.count == 0 {
                    rules.push(self.rule([Expr::Verdict(Verdict::Drop)]).comment("no endpoint on this node"));
                }
            }
        }
        rules
    }

    fn rule(&self, expressions: impl Into<Vec<Expr>>) -> Rule {
        Rule::new(self.name(), expressions.into())
    }

    /// Rules that send packets which match `condition` to a random slot of the range, or to its first slot if
    /// that one is being emptied at this very moment.
    fn pick(&self, condition: &[Expr], range: Range) -> Vec<Rule> {
        let counts: &[u32] = match range.count {
            0 => &[],
            1 => &[1],
            count => &[count, 1],
        };
        counts.iter().map(|count| self.pick_one(condition, Range { count: *count, ..range })).collect()
    }

    fn pick_one(&self, condition: &[Expr], range: Range) -> Rule {
        let (load, words, map) = match self.node_port {
            false => (load_service_ip(self.family), address_words(self.family) + 2, &SERVICE_ENDPOINTS),
            true => (load_protocol_and_port(KEY).to_vec(), 2, &NODE_PORT_ENDPOINTS),
        };
        let address = key_register(words + 1);
        let mut expressions = condition.to_vec();
        expressions.extend(only(self.family));
        expressions.extend(load);
        expressions.extend([
            Expr::Random { to: key_register(words), modulus: range.count, offset: range.first },
            Expr::Lookup {
                set: map.name(self.family).into(),
                from: KEY,
                result: LookupResult::Value(address),
            },
            Expr::Dnat {
                family: match self.family {
                    Family::V4 => nfnetlink::Family::Ip,
                    Family::V6 => nfnetlink::Family::Ip6,
                },
                address,
                port: Some(key_register(words + 1 + address_words(self.family))),
            },
        ]);
        self.rule(expressions)
    }
}

/// The rule goes on only for packets of pods.
fn only_from_pods(family: Family) -> Vec<Expr> {
    let mut expressions = only(family).to_vec();
    expressions.push(load_address(family, Address::Source, KEY));
    let set = CLUSTER_CIDRS.name(family);
    expressions.push(Expr::Lookup { set: set.into(), from: KEY, result: LookupResult::Contained });
    expressions
}

/// The rule goes on only for packets that this node made.
fn only_from_node() -> Vec<Expr> {
    vec![
        Expr::FibType { address: FibAddress::Source, to: KEY },
        Expr::Compare { from: KEY, equal: true, value: RTN_LOCAL.to_ne_bytes().to_vec() },
    ]
}

fn run(range: Range) -> String {
    match range.first {
        0 => range.count.to_string(),
        first => format!("{}-from-{first}", range.count),
    }
}
