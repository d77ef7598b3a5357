//! Connections as the elements of the maps count them.
//!
//! Rules that translate see only the first packet of a connection, so packets there are connections. An element
//! that changes begins anew.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use nfnetlink::{Error, Socket};

use super::layout;
use super::ruleset::Ruleset;
use crate::mode::Count;

/// Reads the counts of all Service ports and of their endpoints, in order of name.
///
/// # Errors
/// Those of [`Socket::elements`].
pub(super) fn counts(socket: &mut Socket, ruleset: &Ruleset) -> Result<Vec<Count>, Error> {
    let mut packets = HashMap::new();
    for set in layout::counting_sets() {
        for element in socket.elements(&layout::table(), set)? {
            packets.insert((set, element.key), element.counter.0.map_or(0, |counter| counter.packets));
        }
    }
    let mut sums: BTreeMap<(Arc<str>, Option<SocketAddr>), u64> = BTreeMap::new();
    for (front, value) in ruleset.fronts() {
        for (place, endpoint) in layout::counting_elements(front, value) {
            let count = packets.get(&place).copied().unwrap_or(0);
            *sums.entry((value.comment.clone(), endpoint)).or_default() += count;
        }
    }
    let count = |((service, endpoint), connections)| Count { service, endpoint, connections };
    Ok(sums.into_iter().map(count).collect())
}
