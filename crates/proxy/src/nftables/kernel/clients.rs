//! Clients that the kernel remembers for session affinity.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use nfnetlink::{Batch, Element, Error, Ruleset as Held, Socket, Table, Transaction};

use crate::nftables::front::Front;
use crate::nftables::layout;
use crate::nftables::ruleset::{Change, Ruleset};
use crate::nftables::wish::{Audience, FrontValue, Way};

/// How often elements are listed again when some of those to delete expired meanwhile.
const TRIES: usize = 4;

/// Whether these changes took an endpoint from a list whose clients are remembered.
pub(super) fn concerned(changes: &[Change]) -> bool {
    changes.iter().any(|change| match change {
        Change::Front { old: Some(old), new, .. } if old.affinity.is_some() => {
            Audience::ALL.into_iter().any(|audience| {
                let now: HashSet<_> = new.iter().flat_map(|new| new.sticky(audience)).collect();
                old.sticky(audience).iter().any(|endpoint| !now.contains(endpoint))
            })
        }
        _ => false,
    })
}

/// Forgets the clients that stay with an endpoint which the list of their front does not hold.
pub(super) fn forget(socket: &mut Socket, ruleset: &Ruleset) -> Result<(), Error> {
    let mut outcome = Ok(());
    let mut lists = Lists { ruleset, endpoints: HashMap::new() };
    for _ in 0..TRIES {
        let mut batch = Batch::new();
        for (map, family, audience) in layout::affinity_maps() {
            let mut stale = |element: &Element| {
                let known = layout::remembered(family, element);
                !known.is_some_and(|(fronts, endpoint)| lists.hold(&fronts, audience, endpoint))
            };
            let mut gone = socket.elements(&layout::table(), map)?;
            gone.retain(&mut stale);
            batch.delete_elements(&layout::table(), map, &gone);
        }
        outcome = socket.commit(batch);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// The endpoints that clients of each front may stay with, as far as anybody asked.
struct Lists<'a> {
    ruleset: &'a Ruleset,
    endpoints: HashMap<(Front, Audience), HashSet<SocketAddr>>,
}

impl Lists<'_> {
    /// Whether the first of these fronts that takes packets leads to this endpoint.
    fn hold(&mut self, fronts: &[Front], audience: Audience, endpoint: SocketAddr) -> bool {
        let takes = |front: &&Front| self.ruleset.front(front).is_some_and(|value| value.way != Way::Reject);
        let Some(front) = fronts.iter().find(takes) else { return false };
        let list = |value: &FrontValue| value.sticky(audience).iter().copied().collect();
        let endpoints = self
            .endpoints
            .entry((*front, audience))
            .or_insert_with(|| self.ruleset.front(front).map(|value| list(value)).unwrap_or_default());
        endpoints.contains(&endpoint)
    }
}

/// Adds the clients that a table remembers, each for the time that is left.
pub(super) fn carry_over(held: &Held, table: &Table, transaction: &mut impl Transaction) {
    for (map, ..) in layout::affinity_maps() {
        let Some(set) = held.set(map) else { continue };
        let left = |element: &Element| Some(Element { timeout: Some(element.expires.0?), ..element.clone() });
        let elements: Vec<_> = set.elements().filter_map(left).collect();
        transaction.add_elements(table, map, &elements);
    }
}
