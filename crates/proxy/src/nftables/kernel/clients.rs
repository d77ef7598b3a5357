//! Clients that the kernel remembers for session affinity.

use std::collections::HashSet;
use std::net::SocketAddr;

use nfnetlink::{Batch, Element, Error, Ruleset as Held, Socket, Table, Transaction};

use crate::nftables::front::ServiceKey;
use crate::nftables::layout;

/// How often elements are listed again when some of those to delete expired meanwhile.
const TRIES: usize = 4;

/// Forgets the clients of all endpoints but those in `live`: Service port, endpoint, and whether that is for traffic
/// that stays on the node.
pub(super) fn forget(
    socket: &mut Socket,
    live: &HashSet<(ServiceKey, SocketAddr, bool)>,
) -> Result<(), Error> {
    let mut outcome = Ok(());
    for _ in 0..TRIES {
        let mut batch = Batch::new();
        for (map, family, local) in layout::affinity_maps() {
            let stale = |element: &Element| {
                let known = layout::remembered(family, element);
                known.is_none_or(|(service, endpoint)| !live.contains(&(service, endpoint, local)))
            };
            let elements = socket.elements(&layout::table(), map)?;
            let gone: Vec<_> = elements.into_iter().filter(stale).collect();
            batch.delete_elements(&layout::table(), map, &gone);
        }
        outcome = socket.commit(batch);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
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
