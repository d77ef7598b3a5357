//! What one Service wants of the kernel.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use service::Cidr;
use service::objects::Protocol;

use super::front::Front;
use super::ruleset::Range;

/// What happens to connections at a front.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// To an endpoint.
    Serve {
        /// Slots to choose from.
        range: Range,
        /// Whether the node's address replaces the client's.
        masquerade: bool,
    },
    /// To an endpoint on this node if the client is outside (external traffic policy Local).
    Split {
        /// Slots for clients in the cluster; never empty.
        inside: Range,
        /// Slots for clients outside; if empty their packets are dropped.
        outside: Range,
    },
    /// Dropped: the endpoints are on other nodes.
    Drop,
    /// Rejected: there are no endpoints.
    Reject,
}

/// How one of the slots is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Chooser {
    /// By chance.
    #[default]
    Chance,
    /// By a hash of the client's address.
    ClientHash,
}

/// Clients of a front that have one list of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// All, but those for whom there is another list.
    Most,
    /// Those outside the cluster at a front that keeps them on this node ([`Way::Split`]).
    Outside,
}

impl Audience {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Most, Self::Outside];
}

/// What a front leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrontValue {
    /// Which of two Services that want the same front gets it: lower first, then the name.
    pub rank: u8,
    /// What happens to connections.
    pub way: Way,
    /// How one of the slots is chosen.
    pub chooser: Chooser,
    /// For how long after the beginning of its last connection a client stays with its endpoint, if at all.
    pub affinity: Option<Duration>,
    /// Who may come in, if not everybody (`loadBalancerSourceRanges`).
    pub sources: Option<Arc<[Cidr]>>,
    /// The endpoints, each in its slot.
    pub slots: Arc<[SocketAddr]>,
    /// Endpoints whose connections are left alone. Only kept for UDP, whose connections end only when they
    /// are forgotten.
    pub serving: Arc<[SocketAddr]>,
    /// `namespace/name:port`, for people who look at the rules.
    pub comment: Arc<str>,
}

impl FrontValue {
    /// The slots of the endpoints that clients stay with, if they do.
    pub fn sticky(&self, audience: Audience) -> &[SocketAddr] {
        let range = match (self.way, audience) {
            _ if self.affinity.is_none() => None,
            (Way::Serve { range, .. } | Way::Split { inside: range, .. }, Audience::Most) => Some(range),
            (Way::Split { outside, .. }, Audience::Outside) => Some(outside),
            _ => None,
        };
        let run =
            range.and_then(|Range { first, count }| self.slots.get(first as usize..(first + count) as usize));
        run.unwrap_or_default()
    }
}

/// What one Service wants of the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fragment {
    /// Its fronts, in their order, each once (see [`Fragment::tidy`]).
    pub fronts: Vec<(Front, Arc<FrontValue>)>,
    /// Its cluster IPs, whose unknown ports are rejected.
    pub cluster_ips: Vec<IpAddr>,
    /// Its endpoints on this node, which may meet themselves.
    pub hairpins: Vec<(SocketAddr, Protocol)>,
}

impl Fragment {
    /// Brings the fronts into their order; of two wants for one front the first counts. A Service may have tens of
    /// thousands of fronts, so that none may be looked for among all.
    pub fn tidy(&mut self) {
        self.fronts.sort_by_key(|(front, _)| *front);
        self.fronts.dedup_by_key(|(front, _)| *front);
    }

    /// What it wants for a front.
    pub fn front(&self, front: &Front) -> Option<&Arc<FrontValue>> {
        let place = self.fronts.binary_search_by_key(front, |(front, _)| *front).ok()?;
        self.fronts.get(place).map(|(_, value)| value)
    }
}
