//! Changes of the ruleset as elements of sets.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use nfnetlink::{Element, ElementData, Verdict};
use service::Family;
use service::objects::Protocol;

use super::pick::PickChain;
use super::sets::{
    CLUSTER_IPS, HAIRPINS, NO_ENDPOINT_IPS, NO_ENDPOINT_NODE_PORTS, NODE_PORT_ENDPOINTS, NODE_PORTS,
    SERVICE_ENDPOINTS, SERVICE_IPS,
};
use crate::nftables::ruleset::{Change, Front, FrontValue, Way};

/// Elements to delete and to add, by set. Deletions come first: an element is changed by both.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Elements that must go.
    pub delete: BTreeMap<&'static str, Vec<Element>>,
    /// Elements that must come.
    pub add: BTreeMap<&'static str, Vec<Element>>,
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

    fn toggle(&mut self, set: &'static str, element: Element, present: bool) {
        let side = if present { &mut self.add } else { &mut self.delete };
        side.entry(set).or_default().push(element);
    }

    /// Turns the old element of a key into the new one.
    fn replace(&mut self, old: Option<(&'static str, Element)>, new: Option<(&'static str, Element)>) {
        if old == new {
            return;
        }
        if let Some((set, element)) = old {
            self.toggle(set, element, false);
        }
        if let Some((set, element)) = new {
            self.toggle(set, element, true);
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
    let slots = |value: Option<&FrontValue>| value.map(|value| value.slots.clone()).unwrap_or_default();
    let (before, after) = (slots(old), slots(new));
    for index in 0..before.len().max(after.len()) {
        let (was, is) = (before.get(index), after.get(index));
        if was != is {
            edits.replace(
                was.map(|endpoint| slot_element(front, index, *endpoint)),
                is.map(|endpoint| slot_element(front, index, *endpoint)),
            );
        }
    }
}

/// The element that leads from a front to its chain, or that says it has no endpoints.
fn way_element(front: &Front, value: &FrontValue) -> (&'static str, Element) {
    let (ways, rejected) = match front {
        Front::ServiceIp { .. } => (&SERVICE_IPS, &NO_ENDPOINT_IPS),
        Front::NodePort { .. } => (&NODE_PORTS, &NO_ENDPOINT_NODE_PORTS),
    };
    let (set, data) = match PickChain::new(front, value.way) {
        Some(chain) => (ways, ElementData::Verdict(Verdict::Goto(chain.name()))),
        None if value.way == Way::Drop => (ways, ElementData::Verdict(Verdict::Drop)),
        None => (rejected, ElementData::None),
    };
    (set.name(front.family()), Element::new(front_key(front), data, value.comment.to_string()))
}

fn slot_element(front: &Front, index: usize, endpoint: SocketAddr) -> (&'static str, Element) {
    let set = match front {
        Front::ServiceIp { .. } => &SERVICE_ENDPOINTS,
        Front::NodePort { .. } => &NODE_PORT_ENDPOINTS,
    };
    let mut key = front_key(front);
    key.extend((index as u32).to_ne_bytes());
    let mut data = octets(endpoint.ip());
    data.extend(endpoint.port().to_be_bytes());
    data.extend([0; 2]);
    let element = Element::new(key, ElementData::Value(data), "");
    (set.name(front.family()), element)
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

/// Both fields, each filled up to four bytes.
fn protocol_and_port(protocol: Protocol, port: u16) -> [u8; 8] {
    let [high, low] = port.to_be_bytes();
    [protocol.number(), 0, 0, 0, high, low, 0, 0]
}

/// An address in network order.
pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
