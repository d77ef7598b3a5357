//! Chains of endpoints that remember their clients (`sessionAffinity: ClientIP`).
//!
//! A client is remembered by its address and the Service port. Any slot leads here; if the client is known, the
//! update only starts its time anew and leaves it the endpoint it has, so the second rule sends it where it was
//! before, whichever slot it drew. All fronts of a Service port share what is remembered, and it lives in the kernel:
//! a restart of the proxy forgets nobody.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nfnetlink::expr::{LookupResult, Register};
use nfnetlink::{Chain, Element, ElementData, Expr, Rule};
use service::Family;
use service::objects::Protocol;

use super::sets::{AFFINITY, AFFINITY_LOCAL};
use super::{Address, KEY, address_words, dnat, key_register, load_address, octets, only};
use crate::nftables::front::ServiceKey;

const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

/// The chain of one endpoint of one Service port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StickChain {
    /// The Service port.
    pub(super) service: ServiceKey,
    /// For how long a client stays.
    pub(super) timeout: Duration,
    /// Whether it serves the list for traffic that stays on the node.
    pub(super) local: bool,
    /// The endpoint of a client that is new.
    pub(super) endpoint: SocketAddr,
}

impl StickChain {
    /// Its name says all that its rules depend on.
    pub fn name(&self) -> String {
        let list = if self.local { "stick-local" } else { "stick" };
        let ServiceKey { address, protocol, port } = self.service;
        let (endpoint, target) = (self.endpoint.ip(), self.endpoint.port());
        let seconds = self.timeout.as_secs();
        // A colon would end a name for nft.
        format!("{list}-{protocol}-{address}-{port}-to-{endpoint}-{target}-for-{seconds}s").replace(':', ".")
    }

    /// The chain itself.
    pub fn chain(&self) -> Chain {
        Chain::regular(self.name())
    }

    /// Its rules.
    pub fn rules(&self) -> Vec<Rule> {
        let (key, value) = (self.key(), key_register(self.key_words()));
        let map = || self.map().into();
        let remember = Expr::Update { set: map(), key: KEY, data: Some(value), timeout: Some(self.timeout) };
        let recall = Expr::Lookup { set: map(), from: KEY, result: LookupResult::Value(value) };
        let (endpoint, send) = (self.endpoint(value), dnat(self.family(), value));
        [
            (
                [key.clone(), endpoint.clone(), vec![remember]].concat(),
                "a client that is known keeps its endpoint",
            ),
            ([key, vec![recall, send.clone()]].concat(), "to the endpoint of this client"),
            ([endpoint, vec![send]].concat(), "more clients than can be remembered"),
        ]
        .into_iter()
        .map(|(expressions, comment)| {
            let expressions = [only(self.family()).to_vec(), expressions].concat();
            Rule::new(self.name(), expressions).comment(comment)
        })
        .collect()
    }

    /// Where its clients are remembered.
    pub(super) fn map(&self) -> &'static str {
        let pair = if self.local { &AFFINITY_LOCAL } else { &AFFINITY };
        pair.name(self.family())
    }

    fn family(&self) -> Family {
        Family::of(self.service.address)
    }

    fn key_words(&self) -> u8 {
        2 * address_words(self.family()) + 2
    }

    /// Loads client, cluster IP, protocol and port.
    fn key(&self) -> Vec<Expr> {
        let words = address_words(self.family());
        let ServiceKey { address, protocol, port } = self.service;
        vec![
            load_address(self.family(), Address::Source, KEY),
            constant(octets(address), key_register(words)),
            constant(vec![protocol.number()], key_register(2 * words)),
            constant(port.to_be_bytes().to_vec(), key_register(2 * words + 1)),
        ]
    }

    /// Loads the endpoint.
    fn endpoint(&self, to: Register) -> Vec<Expr> {
        let port = Register(to.0 + address_words(self.family()));
        vec![
            constant(octets(self.endpoint.ip()), to),
            constant(self.endpoint.port().to_be_bytes().to_vec(), port),
        ]
    }
}

fn constant(value: Vec<u8>, to: Register) -> Expr {
    Expr::Immediate { value, to }
}

/// The maps in which clients are remembered, each with its family and whether it is for traffic that stays on the
/// node.
pub fn affinity_maps() -> impl Iterator<Item = (&'static str, Family, bool)> {
    let of_family =
        |family| [(AFFINITY.name(family), family, false), (AFFINITY_LOCAL.name(family), family, true)];
    Family::ALL.into_iter().flat_map(of_family)
}

/// Whom an element of the affinity maps remembers: the Service port, and the endpoint it has.
pub fn remembered(family: Family, element: &Element) -> Option<(ServiceKey, SocketAddr)> {
    let (key, ElementData::Value(value)) = (&element.key, &element.data) else { return None };
    let length = 4 * usize::from(address_words(family));
    let address = read_address(key.get(length..2 * length)?)?;
    let number = key.get(2 * length)?;
    let protocol = PROTOCOLS.into_iter().find(|protocol| protocol.number() == *number)?;
    let port = read_port(key.get(2 * length + 4..)?)?;
    let endpoint = SocketAddr::new(read_address(value.get(..length)?)?, read_port(value.get(length..)?)?);
    Some((ServiceKey { address, protocol, port }, endpoint))
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
