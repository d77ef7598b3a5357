//! Connections that began while the rules were not there.
//!
//! The kernel treats all packets of a connection as it treated the first. One that began when nobody translated goes
//! nowhere for minutes, and so does every later one from the same port. Forgotten, its next packet, which TCP sends
//! again after a second, finds an endpoint. Cluster IPs are nobody's own addresses, so what is not translated there is
//! not meant for somebody else. (UDP is looked after with the endpoints that are gone.)

use nfnetlink::{Error, Socket};
use service::objects::Protocol;

use crate::nftables::front::Front;
use crate::nftables::ruleset::Ruleset;
use crate::nftables::wish::Way;

/// Forgets connections to cluster IPs that were not translated though there are endpoints; returns how many.
pub(super) fn forget_untranslated(socket: &mut Socket, ruleset: &Ruleset) -> Result<usize, Error> {
    let mut forgotten = 0;
    for protocol in [Protocol::Tcp, Protocol::Sctp] {
        let lost = socket.lost_flows(protocol.number())?;
        for flow in lost.iter().filter(|flow| ruleset.has_cluster_ip(flow.destination.ip())) {
            let (address, port) = (flow.destination.ip(), flow.destination.port());
            let front = ruleset.front(&Front::ServiceIp { address, protocol, port });
            if front.is_some_and(|value| matches!(value.way, Way::Serve { .. } | Way::Split { .. })) {
                socket.delete_flow(flow)?;
                forgotten += 1;
            }
        }
    }
    Ok(forgotten)
}
