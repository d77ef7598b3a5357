//! Clients of Services with session affinity (`sessionAffinity: ClientIP`): recalled before translation, remembered
//! after it.
//!
//! What is remembered is (client . front . endpoint), so a client stays with its endpoint for each address and port
//! it comes to. It is written where the packet has its endpoint and still its source: `nft` cannot list a rule that
//! remembers what the same rule looked up. There is one chain for each timeout, not for each endpoint.
//!
//! Only an endpoint that the list of the front holds at that moment is remembered. A packet that was translated just
//! before its endpoint left the list leaves no trace.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nfnetlink::expr::{CtKey, LookupResult, MetaKey, PayloadBase};
use nfnetlink::{Chain, Element, ElementData, Expr, Rule, Verdict};
use service::Family;
use service::objects::Protocol;

use super::pick::only_from_node;
use super::sets::{
    AFFINITY, AFFINITY_LOCAL, REMEMBERING_IPS, REMEMBERING_NODE_PORTS, STICKY_ENDPOINTS,
    STICKY_ENDPOINTS_LOCAL, STICKY_NODE_PORT_ENDPOINTS, STICKY_NODE_PORT_ENDPOINTS_LOCAL, SetPair,
};
use super::{
    Address, KEY, address_words, dnat, key_register, load_address, load_protocol_and_port, only, pods,
};
use crate::nftables::front::Front;
use crate::nftables::settings::Settings;
use crate::nftables::wish::{Audience, FrontValue, Way};

const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

/// A chain that remembers clients of fronts of one kind for one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RememberChain {
    family: Family,
    node_port: bool,
    /// Whether clients outside the cluster have another list; see [`Way::Split`].
    split: bool,
    timeout: Duration,
}

impl RememberChain {
    /// The chain for a front that leads to this; `None` if it remembers nobody.
    pub fn new(front: &Front, value: &FrontValue) -> Option<Self> {
        let timeout = value.affinity?;
        let split = match value.way {
            Way::Serve { .. } => false,
            Way::Split { .. } => true,
            Way::Drop | Way::Reject => return None,
        };
        let node_port = matches!(front, Front::NodePort { .. });
        Some(Self { family: front.family(), node_port, split, timeout })
    }

    /// Its name says all that its rules depend on.
    pub fn name(&self) -> String {
        let version = if self.family == Family::V4 { "" } else { "6" };
        let kind = if self.node_port { "-node-port" } else { "" };
        let split = if self.split { "-local" } else { "" };
        format!("remember{version}{kind}{split}-{}s", self.timeout.as_secs())
    }

    /// The chain itself.
    pub fn chain(&self) -> Chain {
        Chain::regular(self.name())
    }

    /// Its rules.
    pub fn rules(&self, settings: &Settings) -> Vec<Rule> {
        let mut rules = Vec::new();
        if self.split {
            let inside = [pods(settings, self.family, true), Some(only_from_node())];
            for condition in inside.into_iter().flatten() {
                rules.push(self.remember(condition, Audience::Most));
            }
            rules.push(self.remember(Vec::new(), Audience::Outside));
        } else {
            rules.push(self.remember(Vec::new(), Audience::Most));
        }
        rules
    }

    /// Remembers the clients that match a condition, and is done with them.
    fn remember(&self, condition: Vec<Expr>, audience: Audience) -> Rule {
        let words = address_words(self.family);
        let mut expressions = [condition, only(self.family).to_vec()].concat();

        let at_node_port = load_original_port(0).to_vec();
        let (front, front_words) = match self.node_port {
            false => (load_original(self.family, 0), words + 2),
            true => (at_node_port, 2),
        };
        expressions.extend(front);
        expressions.extend(load_endpoint(self.family, front_words));
        expressions.push(Expr::contained(sticky(self.node_port, audience).name(self.family), KEY));

        expressions.push(load_address(self.family, Address::Source, KEY));
        expressions.extend(load_original(self.family, words));
        expressions.extend(load_endpoint(self.family, 2 * words + 2));
        expressions.extend([
            Expr::Update {
                set: affinity(audience).name(self.family).into(),
                key: KEY,
                data: Some(key_register(2 * words + 2)),
                timeout: Some(self.timeout),
            },
            Expr::Verdict(Verdict::Return),
        ]);
        Rule::new(self.name(), expressions)
    }
}

/// The rules that lead from a translated packet to the chain of its front.
pub(super) fn find_remember_chain(chain: &'static str, family: Family) -> [Rule; 2] {
    let to = |key: Vec<Expr>, map: &'static SetPair| {
        let mut expressions = only(family).to_vec();
        expressions.extend(key);
        let map = map.name(family).into();
        expressions.push(Expr::Lookup { set: map, from: KEY, result: LookupResult::Verdict });
        Rule::new(chain, expressions)
    };
    [
        to(load_original(family, 0), &REMEMBERING_IPS),
        to(load_original_port(0).to_vec(), &REMEMBERING_NODE_PORTS),
    ]
}

/// The expressions that send a client which is remembered to its endpoint; the rule ends for others.
pub(super) fn recall(family: Family, audience: Audience) -> Vec<Expr> {
    let words = address_words(family);
    let found = key_register(2 * words + 2);
    let mut expressions = only(family).to_vec();
    expressions.push(load_address(family, Address::Source, KEY));
    expressions.push(load_address(family, Address::Destination, key_register(words)));
    expressions.extend(load_protocol_and_port(key_register(2 * words)));
    expressions.extend([
        Expr::Lookup {
            set: affinity(audience).name(family).into(),
            from: KEY,
            result: LookupResult::Value(found),
        },
        dnat(family, found),
    ]);
    expressions
}

/// Where clients are remembered.
fn affinity(audience: Audience) -> &'static SetPair {
    match audience {
        Audience::Most => &AFFINITY,
        Audience::Outside => &AFFINITY_LOCAL,
    }
}

/// The endpoints that may be remembered.
pub(super) fn sticky(node_port: bool, audience: Audience) -> &'static SetPair {
    match (node_port, audience) {
        (false, Audience::Most) => &STICKY_ENDPOINTS,
        (false, Audience::Outside) => &STICKY_ENDPOINTS_LOCAL,
        (true, Audience::Most) => &STICKY_NODE_PORT_ENDPOINTS,
        (true, Audience::Outside) => &STICKY_NODE_PORT_ENDPOINTS_LOCAL,
    }
}

/// Loads the destination before translation from a word of the key on: address, protocol and port.
fn load_original(family: Family, word: u8) -> Vec<Expr> {
    let key = match family {
        Family::V4 => CtKey::OriginalAddress,
        Family::V6 => CtKey::OriginalAddress6,
    };
    let mut expressions = vec![Expr::Ct { key, to: key_register(word) }];
    expressions.extend(load_original_port(word + address_words(family)));
    expressions
}

fn load_original_port(word: u8) -> [Expr; 2] {
    [
        Expr::Meta { key: MetaKey::L4Proto, to: key_register(word) },
        Expr::Ct { key: CtKey::OriginalPort, to: key_register(word + 1) },
    ]
}

/// Loads the destination after translation: address and port.
fn load_endpoint(family: Family, word: u8) -> [Expr; 2] {
    let port = key_register(word + address_words(family));
    [
        load_address(family, Address::Destination, key_register(word)),
        Expr::Payload { base: PayloadBase::Transport, offset: 2, length: 2, to: port },
    ]
}

/// The maps in which clients are remembered, each with its family and whose list they are for.
pub fn affinity_maps() -> impl Iterator<Item = (&'static str, Family, Audience)> {
    let of_family =
        |family| Audience::ALL.map(|audience| (affinity(audience).name(family), family, audience));
    Family::ALL.into_iter().flat_map(of_family)
}

/// What an element of the affinity maps says: where the client came to, and the endpoint it has.
pub fn remembered(family: Family, element: &Element) -> Option<([Front; 2], SocketAddr)> {
    let (key, ElementData::Value(value)) = (&element.key, &element.data) else { return None };
    let length = 4 * usize::from(address_words(family));
    let address = read_address(key.get(length..2 * length)?)?;
    let number = key.get(2 * length)?;
    let protocol = PROTOCOLS.into_iter().find(|protocol| protocol.number() == *number)?;
    let port = read_port(key.get(2 * length + 4..)?)?;
    let endpoint = SocketAddr::new(read_address(value.get(..length)?)?, read_port(value.get(length..)?)?);
    let fronts = [Front::ServiceIp { address, protocol, port }, Front::NodePort { family, protocol, port }];
    Some((fronts, endpoint))
}

fn read_port(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?))
}

fn read_address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}
