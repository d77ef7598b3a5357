//! Chains that pick an endpoint, one per count of endpoints.

use nfnetlink::expr::{FibAddress, LookupResult, RTN_LOCAL, Register};
use nfnetlink::{Chain, Expr, Rule, Verdict};
use service::Family;

use super::remember::recall;
use super::sets::{NODE_PORT_ENDPOINTS, SERVICE_ENDPOINTS, SetPair};
use super::{
    Address, KEY, address_words, dnat, key_register, load_address, load_protocol_and_port, load_service_ip,
    mark, only, pods,
};
use crate::nftables::front::Front;
use crate::nftables::ruleset::Range;
use crate::nftables::settings::Settings;
use crate::nftables::wish::{Audience, Chooser, FrontValue, Way};

/// A chain that picks one of so many endpoints for fronts of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PickChain {
    family: Family,
    node_port: bool,
    chooser: Chooser,
    /// Whether clients that are remembered go where they were before.
    sticky: bool,
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
    /// The chain that a front uses which leads to this; `None` if it needs none.
    pub fn new(front: &Front, value: &FrontValue) -> Option<Self> {
        let pick = match value.way {
            Way::Serve { range, masquerade } => Pick::Any { range, masquerade },
            Way::Split { inside, outside } => Pick::Split { inside, outside },
            Way::Drop | Way::Reject => return None,
        };
        let node_port = matches!(front, Front::NodePort { .. });
        let sticky = value.affinity.is_some();
        Some(Self { family: front.family(), node_port, chooser: value.chooser, sticky, pick })
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
        let chooser = match self.chooser {
            Chooser::Chance => "",
            Chooser::ClientHash => "-hashed",
        };
        let sticky = if self.sticky { "-sticky" } else { "" };
        format!("{kind}{version}{chooser}{sticky}-{run}")
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
                rules.extend(self.pick(&[], range, Audience::Most));
            }
            Pick::Split { inside, outside } => {
                if let Some(from_pod) = pods(settings, self.family, true) {
                    rules.extend(self.pick(&from_pod, inside, Audience::Most));
                }
                let from_node = only_from_node();
                let marked = [&from_node[..], &mark(settings.masquerade_mark)].concat();
                rules.push(self.rule(marked).comment("masquerade this node's own traffic"));
                rules.extend(self.pick(&from_node, inside, Audience::Most));
                rules.extend(self.pick(&[], outside, Audience::Outside));
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

    /// Rules that send packets which match `condition` to where their client was before, to a random slot of the
    /// range, or to its first slot if that one is being emptied at this very moment.
    fn pick(&self, condition: &[Expr], range: Range, audience: Audience) -> Vec<Rule> {
        let counts: &[u32] = match range.count {
            0 => &[],
            1 => &[1],
            count => &[count, 1],
        };
        let recall = (self.sticky && range.count > 0).then(|| {
            let expressions = [condition, &recall(self.family, audience)].concat();
            self.rule(expressions).comment("to the endpoint of this client")
        });
        let picks = counts.iter().map(|count| self.pick_one(condition, Range { count: *count, ..range }));
        recall.into_iter().chain(picks).collect()
    }

    fn pick_one(&self, condition: &[Expr], range: Range) -> Rule {
        let (mut load, words) = match self.node_port {
            false => (load_service_ip(self.family), address_words(self.family) + 2),
            true => (load_protocol_and_port(KEY).to_vec(), 2),
        };
        let (slot, found) = (key_register(words), key_register(words + 1));
        // A hash overwrites what it is made of, so it comes first.
        load.splice(0..0, self.choose(range, slot));
        let map = self.map().name(self.family).into();
        let mut expressions = condition.to_vec();
        expressions.extend(only(self.family));
        expressions.extend(load);
        expressions.extend([
            Expr::Lookup { set: map, from: KEY, result: LookupResult::Value(found) },
            dnat(self.family, found),
        ]);
        self.rule(expressions)
    }

    /// Loads the number of a slot of the range.
    fn choose(&self, range: Range, slot: Register) -> Vec<Expr> {
        let Range { first: offset, count: modulus } = range;
        match self.chooser {
            // There is nothing to hash for.
            Chooser::ClientHash if modulus > 1 => {
                // The slot is the last field of the key; the client's address fits behind it.
                let client = Register(slot.0 + 1);
                let length = 4 * u32::from(address_words(self.family));
                vec![
                    load_address(self.family, Address::Source, client),
                    Expr::Hash { from: client, length, modulus, offset, seed: Some(0), to: slot },
                ]
            }
            Chooser::Chance | Chooser::ClientHash => vec![Expr::Random { to: slot, modulus, offset }],
        }
    }

    /// Where its slots are.
    pub(super) fn map(&self) -> &'static SetPair {
        if self.node_port { &NODE_PORT_ENDPOINTS } else { &SERVICE_ENDPOINTS }
    }
}

/// The rule goes on only for packets that this node made.
pub(super) fn only_from_node() -> Vec<Expr> {
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
