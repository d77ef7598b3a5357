//! Virtual servers of IPVS. They take packets in where those arrive at the node, and where the node sends them.

use std::net::SocketAddr;

use service::objects::Protocol;

use super::Verdict;
use super::Walker;
use super::hooks::Ways;

/// Says to which real servers a destination leads, each with its share; the shares add up to 1. `None` if there is
/// no virtual server.
pub type VirtualServers = dyn Fn(SocketAddr, Protocol) -> Option<Vec<(SocketAddr, f64)>> + Send + Sync;

/// Packets by whether a virtual server took them.
#[derive(Default)]
pub(super) struct Served {
    /// On their way to a real server.
    pub(super) sent: Ways,
    /// Not taken, or refused for want of a real server.
    pub(super) others: Ways,
}

/// Hands packets that nobody has refused to virtual servers.
pub(super) fn serve(walker: &Walker, ways: Ways) -> Served {
    let mut served = Served::default();
    for (mut packet, verdict) in ways {
        let found = match verdict {
            Verdict::Accept => (walker.virtual_servers)(packet.destination, packet.protocol),
            _ => None,
        };
        let Some(real) = found else {
            served.others.push((packet, verdict));
            continue;
        };
        let front = format!("{} {}", packet.protocol, packet.destination);
        let mut left = 1.0;
        for (address, share) in &real {
            let (mut met, passed) = packet.split(share / left);
            met.note("ipvs", "virtual server", &front, &format!("it goes to {address}"));
            met.translate(*address);
            served.sent.push((met, Verdict::Accept));
            packet = passed;
            left -= share;
        }
        if real.is_empty() {
            packet.note("ipvs", "virtual server", &front, "it has no real server, so it is refused");
            served.others.push((packet, Verdict::Reject));
        }
    }
    served
}
