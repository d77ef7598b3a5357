//! UDP connections to endpoints that are gone.
//!
//! The kernel translates all packets of a connection as it translated the first, and a UDP connection lasts
//! while packets come. So a client that goes on sending would never leave a dead endpoint
//! (kube-proxy's pkg/proxy/conntrack does the same; TCP and SCTP end by themselves).

pub(crate) mod stale;

use std::collections::HashSet;
use std::net::SocketAddr;

use nfnetlink::conntrack::Flow;
use nfnetlink::{Error, Socket};
use service::Family;
use service::objects::Protocol;

use crate::nftables::{Change, Front, FrontValue, Ruleset};

/// Whether these changes may have left connections behind.
pub(crate) fn concerned(changes: &[Change]) -> bool {
    changes.iter().any(|change| match change {
        Change::Front { front, old, new } if front.protocol() == Protocol::Udp => {
            let serving = |value: &Option<std::sync::Arc<FrontValue>>| {
                value.as_ref().map(|value| value.serving.clone()).unwrap_or_default()
            };
            let now: HashSet<_> = serving(new).iter().copied().collect();
            // A front seen for the first time may have been another proxy's, or ours before a restart.
            old.is_none() || serving(old).iter().any(|endpoint| !now.contains(endpoint))
        }
        _ => false,
    })
}

/// Forgets the connections that the changes left behind; returns how many.
pub(crate) fn forget(socket: &mut Socket, ruleset: &Ruleset, changes: &[Change]) -> Result<usize, Error> {
    let gone: HashSet<Front> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Front { front, new: None, .. } => Some(*front),
            _ => None,
        })
        .collect();
    let mut forgotten = 0;
    for flow in socket.flows(Protocol::Udp.number())? {
        let stale = fronts(flow.destination).into_iter().any(|front| match ruleset.front(&front) {
            _ if not_ours(&front, &flow) => false,
            Some(value) => !value.serving.contains(&flow.reply_source),
            None => gone.contains(&front),
        });
        if stale {
            socket.delete_flow(&flow)?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

/// The fronts at which a packet to this destination may have knocked.
fn fronts(destination: SocketAddr) -> [Front; 2] {
    let (address, port, protocol) = (destination.ip(), destination.port(), Protocol::Udp);
    [
        Front::ServiceIp { address, protocol, port },
        Front::NodePort { family: Family::of(address), protocol, port },
    ]
}

/// A connection that was not translated and only has the number of a node port is somebody else's.
fn not_ours(front: &Front, flow: &Flow) -> bool {
    matches!(front, Front::NodePort { .. }) && flow.reply_source == flow.destination
}
