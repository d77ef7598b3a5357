//! Which elements count connections, and what their keys say.
//!
//! Rules that translate see only the first packet of a connection, so packets there are connections.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nfnetlink::{Element, ElementData, Verdict};
use service::Family;

use super::remember::sticky;
use super::sets::{NODE_PORT_ENDPOINTS, NODE_PORTS, SERVICE_ENDPOINTS, SERVICE_IPS, SetPair};
use crate::nftables::wish::Audience;

/// Bytes of a slot's number at the end of a key.
const INDEX: usize = 4;
/// Bytes of a port, filled up.
const PORT: usize = 4;

/// A set whose elements count connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountingSet {
    family: Family,
    node_ports: bool,
    counts: What,
}

/// What connections are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Where they come in.
    Front,
    /// The endpoint that was drawn.
    Slot,
    /// The endpoint that the client stays with.
    Sticky(Audience),
}

/// What an element counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts<'a> {
    /// Connections at a front of the Service port that the element's comment names.
    Front(FrontKey<'a>),
    /// Those of a front to an endpoint that was drawn; of clients that stay with one, only the first.
    Drawn(FrontKey<'a>, SocketAddr),
    /// Those of a front to an endpoint that its client stays with.
    Sticky(FrontKey<'a>, SocketAddr),
}

/// A front as keys have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrontKey<'a> {
    family: Family,
    node_port: bool,
    key: &'a [u8],
}

impl CountingSet {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let kinds = [What::Front, What::Slot].into_iter().chain(Audience::ALL.map(What::Sticky));
        kinds.flat_map(|counts| {
            [false, true]
                .into_iter()
                .flat_map(move |node_ports| Family::ALL.map(|family| Self { family, node_ports, counts }))
        })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        let pair: &'static SetPair = match (self.counts, self.node_ports) {
            (What::Front, false) => &SERVICE_IPS,
            (What::Front, true) => &NODE_PORTS,
            (What::Slot, false) => &SERVICE_ENDPOINTS,
            (What::Slot, true) => &NODE_PORT_ENDPOINTS,
            (What::Sticky(audience), node_ports) => sticky(node_ports, audience),
        };
        pair.name(self.family)
    }

    /// What one of its elements counts; `None` for one that serves nobody, or that is not ours.
    pub fn read<'a>(&self, element: &'a Element) -> Option<Counts<'a>> {
        let front = |key| FrontKey { family: self.family, node_port: self.node_ports, key };
        match (self.counts, &element.data) {
            (What::Front, ElementData::Verdict(Verdict::Goto(_))) => Some(Counts::Front(front(&element.key))),
            (What::Slot, ElementData::Value(value)) => {
                let (key, _) = element.key.split_at_checked(element.key.len().checked_sub(INDEX)?)?;
                Some(Counts::Drawn(front(key), endpoint(self.family, value)?))
            }
            (What::Sticky(_), ElementData::None) => {
                let length = PORT + if self.family == Family::V4 { 4 } else { 16 };
                let (key, value) = element.key.split_at_checked(element.key.len().checked_sub(length)?)?;
                Some(Counts::Sticky(front(key), endpoint(self.family, value)?))
            }
            _ => None,
        }
    }
}

/// Address and port, as elements have them.
fn endpoint(family: Family, bytes: &[u8]) -> Option<SocketAddr> {
    let (address, port): (IpAddr, &[u8]) = match family {
        Family::V4 => {
            let (address, port) = bytes.split_first_chunk::<4>()?;
            (Ipv4Addr::from(*address).into(), port)
        }
        Family::V6 => {
            let (address, port) = bytes.split_first_chunk::<16>()?;
            (Ipv6Addr::from(*address).into(), port)
        }
    };
    Some(SocketAddr::new(address, u16::from_be_bytes(*port.first_chunk()?)))
}
