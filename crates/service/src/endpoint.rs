//! Endpoints of one Service port, gathered from its slices.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::Family;
use crate::objects::{EndpointSlice, Hints, ServicePort, SliceEndpoint};

/// A place that may serve a Service port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it wants connections.
    pub ready: bool,
    /// Whether it would answer connections.
    pub serving: bool,
    /// Whether its pod is being deleted.
    pub terminating: bool,
    /// The node it runs on.
    pub node: Option<Arc<str>>,
    /// Which clients it is meant for.
    pub hints: Option<Box<Hints>>,
    /// Its share of connections beside the others'.
    pub weight: u8,
}

impl Endpoint {
    fn new(endpoint: &SliceEndpoint, port: u16) -> Self {
        Self {
            address: SocketAddr::new(endpoint.address, port),
            ready: endpoint.ready,
            serving: endpoint.serving,
            terminating: endpoint.terminating,
            node: endpoint.node.clone(),
            hints: endpoint.hints.clone(),
            weight: endpoint.weight,
        }
    }

    /// Order of belief when several slices name the same address: one that is not terminating is about the
    /// newer pod (an address may be given to a new pod before the slice of the old one is cleaned).
    fn belief(&self) -> (bool, bool, bool) {
        (!self.terminating, self.ready, self.serving)
    }
}

/// The endpoints of `port` in one family, each address once, in order of address.
///
/// A slice counts when it has the same port name and protocol; different slices may map the port to different
/// numbers.
pub(crate) fn gather<'a>(
    slices: impl Iterator<Item = &'a EndpointSlice>,
    port: &ServicePort,
    family: Family,
) -> Vec<Endpoint> {
    let mut found: BTreeMap<SocketAddr, Endpoint> = BTreeMap::new();
    for slice in slices.filter(|slice| slice.family == Some(family)) {
        let matching = slice.ports.iter().filter(|p| p.name == port.name && p.protocol == port.protocol);
        for target in matching {
            for endpoint in &slice.endpoints {
                let endpoint = Endpoint::new(endpoint, target.port);
                match found.get(&endpoint.address) {
                    Some(other) if other.belief() >= endpoint.belief() => {}
                    _ => {
                        found.insert(endpoint.address, endpoint);
                    }
                }
            }
        }
    }
    found.into_values().collect()
}
