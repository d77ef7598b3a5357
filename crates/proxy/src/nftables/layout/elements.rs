//! Changes of the ruleset as elements of sets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use nfnetlink::{Element, ElementData, Table, Transaction, Verdict};
use service::Family;
use service::objects::Protocol;

use super::chain::ServiceChain;
use super::guard::GuardChain;
use super::octets;
use super::pick::PickChain;
use super::remember::{RememberChain, sticky};
use super::sets::{
    CLUSTER_IPS, GUARDED_IPS, HAIRPINS, NO_ENDPOINT_IPS, NO_ENDPOINT_NODE_PORTS, NODE_PORTS, REMEMBERING_IPS,
    REMEMBERING_NODE_PORTS, SERVICE_IPS,
};
use super::surroundings::surroundings;
use crate::nftables::front::Front;
use crate::nftables::ruleset::Change;
use crate::nftables::settings::Surroundings;
use crate::nftables::wish::{Audience, FrontValue, Way};

/// Elements to delete and to add, by set. Deletions come first: an element is changed by both.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Elements that must go.
    pub delete: BTreeMap<&'static str, Vec<Element>>,
    /// Elements that must come.
    pub add: BTreeMap<&'static str, Vec<Element>>,
    /// Chains that deleted elements led to, once for each.
    pub left: Vec<ServiceChain>,
    /// Chains that added elements lead to, once for each.
    pub used: Vec<ServiceChain>,
}

/// An element, the set it is in, and the chain it leads to.
#[derive(Debug, PartialEq, Eq)]
struct Placed {
    set: &'static str,
    element: Element,
    chain: Option<ServiceChain>,
}

impl Edits {
    /// How many elements are deleted or added.
    pub fn len(&self) -> usize {
        self.delete.values().chain(self.add.values()).map(Vec::len).sum()
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds what turns the sets that follow from node and configuration into others.
    pub fn surround(&mut self, old: &Surroundings, new: &Surroundings) {
        for ((set, before), (_, after)) in surroundings(old).into_iter().zip(surroundings(new)) {
            // Ranges cannot be changed one end at a time.
            if before != after {
                self.delete.entry(set).or_default().extend(before);
                self.add.entry(set).or_default().extend(after);
            }
        }
    }

    /// Carries the edits out. The chains that elements lead to must be there.
    pub fn write(&self, table: &Table, transaction: &mut impl Transaction) {
        for (set, elements) in &self.delete {
            transaction.delete_elements(table, set, elements);
        }
        for (set, elements) in &self.add {
            transaction.add_elements(table, set, elements);
        }
    }

    fn toggle(&mut self, set: &'static str, element: Element, present: bool) {
        let side = if present { &mut self.add } else { &mut self.delete };
        side.entry(set).or_default().push(element);
    }

    /// Turns the old element of a key into the new one.
    fn replace(&mut self, old: Option<Placed>, new: Option<Placed>) {
        if old == new {
            return;
        }
        if let Some(Placed { set, element, chain }) = old {
            self.toggle(set, element, false);
            self.left.extend(chain);
        }
        if let Some(Placed { set, element, chain }) = new {
            self.toggle(set, element, true);
            self.used.extend(chain);
        }
    }
}

/// The elements that carry out these changes.
pub fn edits(changes: &[Change]) -> Edits {
    let mut edits = Edits::default();
    for change in changes {
        match change {
            Change::Front { front, old, new } => {
                front_edits(front, old.as_deref(), new.as_deref(), &mut edits);
            }
            Change::ClusterIp { address, present } => {
                let set = CLUSTER_IPS.name(Family::of(*address));
                edits.toggle(set, Element::key(octets(*address)), *present);
            }
            Change::Hairpin { endpoint, protocol, present } => {
                let set = HAIRPINS.name(Family::of(endpoint.ip()));
                let mut key = [octets(endpoint.ip()), octets(endpoint.ip())].concat();
                key.extend(protocol_and_port(*protocol, endpoint.port()));
                edits.toggle(set, Element::key(key), *present);
            }
        }
    }
    edits
}

fn front_edits(front: &Front, old: Option<&FrontValue>, new: Option<&FrontValue>, edits: &mut Edits) {
    edits.replace(old.map(|value| way_element(front, value)), new.map(|value| way_element(front, value)));
    edits.replace(
        old.and_then(|value| guard_element(front, value)),
        new.and_then(|value| guard_element(front, value)),
    );
    if [old, new].into_iter().flatten().any(|value| value.affinity.is_some()) {
        remember_edits(front, old, new, edits);
    }
    let slots = |value: Option<&FrontValue>| value.map_or(0, |value| value.slots.len());
    let alike = |index: usize| match (old, new) {
        (Some(old), Some(new)) => old.slots.get(index) == new.slots.get(index),
        _ => false,
    };
    for index in (0..slots(old).max(slots(new))).filter(|index| !alike(*index)) {
        edits.replace(
            old.and_then(|value| slot_element(front, value, index)),
            new.and_then(|value| slot_element(front, value, index)),
        );
    }
}

/// What clients of a front may be remembered for: the element that leads to the chain with the right time, and the
/// endpoints.
fn remember_edits(front: &Front, old: Option<&FrontValue>, new: Option<&FrontValue>, edits: &mut Edits) {
    edits.replace(
        old.and_then(|value| remember_element(front, value)),
        new.and_then(|value| remember_element(front, value)),
    );
    for audience in Audience::ALL {
        let endpoints = |value: Option<&FrontValue>| -> BTreeSet<SocketAddr> {
            value.map(|value| value.sticky(audience).iter().copied().collect()).unwrap_or_default()
        };
        let (before, after) = (endpoints(old), endpoints(new));
        for endpoint in before.symmetric_difference(&after) {
            let (set, key) = sticky_endpoint(front, audience, *endpoint);
            edits.toggle(set, Element::key(key), after.contains(endpoint));
        }
    }
}

/// The element that leads from a front to its chain, or that says it has no endpoints.
fn way_element(front: &Front, value: &FrontValue) -> Placed {
    let (ways, rejected) = match front {
        Front::ServiceIp { .. } => (&SERVICE_IPS, &NO_ENDPOINT_IPS),
        Front::NodePort { .. } => (&NODE_PORTS, &NO_ENDPOINT_NODE_PORTS),
    };
    let chain = PickChain::new(front, value);
    let (set, data) = match &chain {
        Some(chain) => (ways, ElementData::Verdict(Verdict::Goto(chain.name()))),
        None if value.way == Way::Drop => (ways, ElementData::Verdict(Verdict::Drop)),
        None => (rejected, ElementData::None),
    };
    Placed {
        set: set.name(front.family()),
        element: Element::new(front_key(front), data, &*value.comment),
        chain: chain.map(ServiceChain::Pick),
    }
}

/// The element that sends clients of a front to where it is asked whether they may come in.
fn guard_element(front: &Front, value: &FrontValue) -> Option<Placed> {
    let chain = GuardChain::new(front.family(), value.sources.clone()?);
    let data = ElementData::Verdict(Verdict::Goto(chain.name()));
    Some(Placed {
        set: GUARDED_IPS.name(front.family()),
        element: Element::new(front_key(front), data, &*value.comment),
        chain: Some(ServiceChain::Guard(chain)),
    })
}

/// The element that leads clients of a front to where they are remembered.
fn remember_element(front: &Front, value: &FrontValue) -> Option<Placed> {
    let chain = RememberChain::new(front, value)?;
    let map = match front {
        Front::ServiceIp { .. } => &REMEMBERING_IPS,
        Front::NodePort { .. } => &REMEMBERING_NODE_PORTS,
    };
    let data = ElementData::Verdict(Verdict::Goto(chain.name()));
    Some(Placed {
        set: map.name(front.family()),
        element: Element::new(front_key(front), data, ""),
        chain: Some(ServiceChain::Remember(chain)),
    })
}

/// Set and key that say that clients of a front may stay with an endpoint.
fn sticky_endpoint(front: &Front, audience: Audience, endpoint: SocketAddr) -> (&'static str, Vec<u8>) {
    let set = sticky(matches!(front, Front::NodePort { .. }), audience).name(front.family());
    (set, [front_key(front), address_and_port(endpoint)].concat())
}

/// The element of a slot: its endpoint.
fn slot_element(front: &Front, value: &FrontValue, index: usize) -> Option<Placed> {
    let endpoint = *value.slots.get(index)?;
    let map = PickChain::new(front, value)?.map();
    let mut key = front_key(front);
    key.extend((index as u32).to_ne_bytes());
    let element = Element::new(key, ElementData::Value(address_and_port(endpoint)), "");
    Some(Placed { set: map.name(front.family()), element, chain: None })
}

fn front_key(front: &Front) -> Vec<u8> {
    match front {
        Front::ServiceIp { address, protocol, port } => {
            let mut key = octets(*address);
            key.extend(protocol_and_port(*protocol, *port));
            key
        }
        Front::NodePort { protocol, port, .. } => protocol_and_port(*protocol, *port).to_vec(),
    }
}

/// Address and port, filled up to a multiple of four bytes.
fn address_and_port(endpoint: SocketAddr) -> Vec<u8> {
    let mut bytes = octets(endpoint.ip());
    bytes.extend(endpoint.port().to_be_bytes());
    bytes.extend([0; 2]);
    bytes
}

/// Both fields, each filled up to four bytes.
fn protocol_and_port(protocol: Protocol, port: u16) -> [u8; 8] {
    let [high, low] = port.to_be_bytes();
    [protocol.number(), 0, 0, 0, high, low, 0, 0]
}
