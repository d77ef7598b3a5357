//! Chains that pick an endpoint, one per four counts of endpoints.
//!
//! The chain for 5 to 8 endpoints draws one of 8 slots; if that is empty one of 7, then of 6, then of 5. Whatever the
//! count, each try finds all endpoints alike, and the one among as many slots as there are endpoints finds one for
//! sure. So an endpoint that comes or goes changes its slot and seldom the chain. That counts, because the kernel looks
//! through all fronts when one is led to a chain, though not when a slot changes.

use std::fmt;

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
    Any { slots: Slots, masquerade: bool },
    /// Others for clients outside the cluster; see [`Way::Split`].
    Split { inside: Slots, outside: Slots },
}

/// How many counts of endpoints share a chain.
const COUNTS: u32 = 4;

/// Slots to draw from: among `most` first, among `least` at last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Slots {
    first: u32,
    least: u32,
    most: u32,
}

impl Slots {
    /// For a run of a front's slots. Where slots of another list follow, or clients are to find their endpoint by one
    /// number on all nodes, there is one draw among the right count.
    fn new(Range { first, count }: Range, value: &FrontValue) -> Self {
        let at_the_end = (first + count) as usize == value.slots.len();
        let in_one_draw = value.chooser == Chooser::ClientHash && value.affinity.is_none();
        if !at_the_end || in_one_draw {
            return Self { first, least: count, most: count };
        }
        let most = count.next_multiple_of(COUNTS);
        Self { first, least: (most + 1).saturating_sub(COUNTS), most }
    }

    /// Among how many slots each try draws. The last one takes the first slot: packets that began while the count
    /// changed may have found all others empty.
    fn draws(self) -> impl Iterator<Item = u32> {
        let draws = (self.least..=self.most).rev().filter(|count| *count > 0);
        draws.chain((self.least > 1).then_some(1))
    }
}

impl fmt::Display for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, least, most } = self;
        match least == most {
            true => write!(f, "{most}")?,
            false => write!(f, "{least}-{most}")?,
        }
        if *first > 0 { write!(f, "-from-{first}") } else { Ok(()) }
    }
}

impl PickChain {
    /// The chain that a front uses which leads to this; `None` if it needs none.
    pub fn new(front: &Front, value: &FrontValue) -> Option<Self> {
        let pick = match value.way {
            Way::Serve { range, masquerade } => Pick::Any { slots: Slots::new(range, value), masquerade },
            Way::Split { inside, outside } => {
                Pick::Split { inside: Slots::new(inside, value), outside: Slots::new(outside, value) }
            }
            Way::Drop | Way::Reject => return None,
        };
        let node_port = matches!(front, Front::NodePort { .. });
        let sticky = value.affinity.is_some();
        Some(Self { family: front.family(), node_port, chooser: value.chooser, sticky, pick })
    }

    /// Its name: kind, counts, and the first slot if it is not 0.
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
            Pick::Any { slots, .. } => slots.to_string(),
            Pick::Split { inside, outside } => format!("{outside}-of-{inside}"),
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
            Pick::Any { slots, masquerade } => {
                if masquerade {
                    rules.push(
                        self.rule(mark(settings.masquerade_mark)).comment("masquerade external traffic"),
                    );
                }
                rules.extend(self.pick(&[], slots, Audience::Most));
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
                if outside.most == 0 {
                    rules.push(self.rule([Expr::Verdict(Verdict::Drop)]).comment("no endpoint on this node"));
                }
            }
        }
        rules
    }

    fn rule(&self, expressions: impl Into<Vec<Expr>>) -> Rule {
        Rule::new(self.name(), expressions.into())
    }

    /// Rules that send packets which match `condition` to where their client was before, or to one of the slots.
    fn pick(&self, condition: &[Expr], slots: Slots, audience: Audience) -> Vec<Rule> {
        let recall = (self.sticky && slots.most > 0).then(|| {
            let expressions = [condition, &recall(self.family, audience)].concat();
            self.rule(expressions).comment("to the endpoint of this client")
        });
        let draw = |(seed, among)| self.draw(condition, slots.first, among, seed);
        let picks = (0..).zip(slots.draws()).map(draw);
        recall.into_iter().chain(picks).collect()
    }

    /// Sends packets to one of so many slots; the rule ends if it is empty.
    fn draw(&self, condition: &[Expr], first: u32, among: u32, seed: u32) -> Rule {
        let (mut load, words) = match self.node_port {
            false => (load_service_ip(self.family), address_words(self.family) + 2),
            true => (load_protocol_and_port(KEY).to_vec(), 2),
        };
        let (slot, found) = (key_register(words), key_register(words + 1));
        // A hash overwrites what it is made of, so it comes first.
        load.splice(0..0, self.choose(first, among, seed, slot));
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

    /// Loads the number of a slot. Hashes of several tries must not depend on each other, or the same slots would
    /// take all that found nothing before.
    fn choose(&self, offset: u32, modulus: u32, seed: u32, slot: Register) -> Vec<Expr> {
        match self.chooser {
            // There is nothing to hash for.
            Chooser::ClientHash if modulus > 1 => {
                // The slot is the last field of the key; the client's address fits behind it.
                let client = Register(slot.0 + 1);
                let length = 4 * u32::from(address_words(self.family));
                vec![
                    load_address(self.family, Address::Source, client),
                    Expr::Hash { from: client, length, modulus, offset, seed: Some(seed), to: slot },
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
