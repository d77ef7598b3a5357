//! Which endpoints a client reaches, and by which rule.
//!
//! The rules are those of kube-proxy 1.36: KEP-1669 (terminating endpoints), KEP-2086 (internal traffic
//! policy), KEP-2433 and KEP-3015 (hints), and the Service API on external traffic policy.

use std::fmt;
use std::sync::Arc;

use crate::endpoint::Endpoint;
use crate::objects::{ExternalTrafficPolicy, Hints, Service};

/// The node that looks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Viewpoint {
    /// Its name.
    pub node: Arc<str>,
    /// Its zone, if it has one.
    pub zone: Option<Arc<str>>,
}

/// Who connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Client {
    /// A pod of the cluster, on this node.
    Pod,
    /// A process on this node.
    Node,
    /// Somebody else.
    Outside,
}

/// Through which kind of address a client comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Entrance {
    /// A cluster IP.
    Internal,
    /// A node port, an external IP or a load balancer's address.
    External,
}

/// The endpoints of a Service port, seen from a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// For traffic that may go anywhere.
    pub cluster: List,
    /// For traffic that must stay on the node.
    pub local: List,
    /// Whether any endpoint could serve, on whatever node.
    pub any: bool,
    internal_local: bool,
    external_local: bool,
}

/// Endpoints to choose from with equal chance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// The endpoints, in order of address.
    pub endpoints: Vec<Endpoint>,
    /// Why these.
    pub rule: Rule,
}

/// Why the endpoints of a list are in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// They are ready.
    Ready,
    /// They are ready and have a hint for this node.
    NodeHints,
    /// They are ready and have a hint for this node's zone.
    ZoneHints,
    /// None is ready; these are being deleted but still serve.
    ServingTerminating,
}

/// What happens to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Where it goes.
    pub outcome: Outcome<'a>,
    /// Whether the endpoint sees this node's address in place of the client's.
    pub masquerade: bool,
}

/// Where a connection goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// To one of these endpoints.
    Serve(&'a List),
    /// Nowhere: the Service has no endpoints, and the client is told at once.
    Reject,
    /// Nowhere: there are endpoints but none on this node, and another node may answer the client.
    Drop,
}

impl Choice {
    /// Decides by the policies and endpoints of a Service port.
    pub(crate) fn new(service: &Service, endpoints: Vec<Endpoint>, viewpoint: &Viewpoint) -> Self {
        let any = endpoints.iter().any(|endpoint| endpoint.ready || serves_while_terminating(endpoint));
        let on_node = |endpoint: &&Endpoint| endpoint.node.as_ref() == Some(&viewpoint.node);
        let local = usable(endpoints.iter().filter(on_node).cloned().collect());
        let cluster = hinted(usable(endpoints), viewpoint);
        Self {
            cluster,
            local,
            any,
            internal_local: service.internal_traffic_local,
            external_local: service.external_traffic_policy == ExternalTrafficPolicy::Local,
        }
    }

    /// What happens to a connection of this client through this entrance.
    ///
    /// External traffic that begins on a node of the cluster needs no local endpoint, whatever the policy: it
    /// is as if it had been balanced already.
    pub fn answer(&self, entrance: Entrance, client: Client) -> Answer<'_> {
        let outside = client == Client::Outside;
        let (local, masquerade) = match entrance {
            Entrance::Internal => (self.internal_local, client != Client::Pod),
            Entrance::External if self.external_local => (outside, client == Client::Node),
            Entrance::External => (false, true),
        };
        let list = if local { &self.local } else { &self.cluster };
        let outcome = match list.endpoints.is_empty() {
            false => Outcome::Serve(list),
            true if self.any => Outcome::Drop,
            true => Outcome::Reject,
        };
        Answer { outcome, masquerade }
    }
}

/// Ready endpoints; if there is none, those that serve while they terminate (KEP-1669).
fn usable(endpoints: Vec<Endpoint>) -> List {
    let rule = match endpoints.iter().any(|endpoint| endpoint.ready) {
        true => Rule::Ready,
        false => Rule::ServingTerminating,
    };
    let keep = |endpoint: &Endpoint| match rule {
        Rule::ServingTerminating => serves_while_terminating(endpoint),
        _ => endpoint.ready,
    };
    List { endpoints: endpoints.into_iter().filter(keep).collect(), rule }
}

fn serves_while_terminating(endpoint: &Endpoint) -> bool {
    endpoint.serving && endpoint.terminating
}

/// Narrows ready endpoints by hints. Hints count only when all endpoints have them and one is for us, so that
/// a half-written set of hints never starves a node.
fn hinted(list: List, viewpoint: &Viewpoint) -> List {
    if list.rule != Rule::Ready {
        return list;
    }
    narrow(&list, Rule::NodeHints, Some(&viewpoint.node), |hints| &hints.nodes)
        .or_else(|| narrow(&list, Rule::ZoneHints, viewpoint.zone.as_ref(), |hints| &hints.zones))
        .unwrap_or(list)
}

/// The endpoints with a hint for `place`; `None` if that is no reason to narrow the list.
fn narrow(
    list: &List,
    rule: Rule,
    place: Option<&Arc<str>>,
    places: fn(&Hints) -> &Vec<Arc<str>>,
) -> Option<List> {
    let place = place?;
    let mut endpoints = Vec::new();
    for endpoint in &list.endpoints {
        let hints = places(endpoint.hints.as_ref()?);
        if hints.is_empty() {
            return None;
        }
        if hints.contains(place) {
            endpoints.push(endpoint.clone());
        }
    }
    (!endpoints.is_empty()).then_some(List { endpoints, rule })
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "endpoints that are ready",
            Self::NodeHints => "ready endpoints with a hint for this node",
            Self::ZoneHints => "ready endpoints with a hint for this node's zone",
            Self::ServingTerminating => "no endpoint is ready; endpoints that serve while they terminate",
        })
    }
}

#[cfg(test)]
mod tests;
