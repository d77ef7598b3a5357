//! The way of a packet through the hooks of the kernel.

use super::matching::TracedPacket;
use super::virtual_servers::serve;
use super::{Verdict, Walker, Way};
use crate::packet::{Packet, Untraceable};

/// Tables in the order in which a hook asks them, as far as they have a chain of the hook's name.
const PREROUTING: [&str; 3] = ["raw", "mangle", "nat"];
const INPUT: [&str; 4] = ["mangle", "filter", "security", "nat"];
const FORWARD: [&str; 3] = ["mangle", "filter", "security"];
/// Virtual servers take packets in between these and those.
const OUTPUT: [&str; 3] = ["raw", "mangle", "nat"];
const OUTPUT_BEHIND: [&str; 2] = ["filter", "security"];
/// Addresses were translated already when a virtual server sends a packet on.
const OUTPUT_SERVED: [&str; 3] = ["mangle", "filter", "security"];
const POSTROUTING: [&str; 2] = ["mangle", "nat"];

/// A packet that is still on its way, or where it ended.
pub(super) type Ways = Vec<(TracedPacket, Verdict)>;

pub(super) fn walk(walker: &Walker, packet: &Packet) -> Result<Vec<Way>, Untraceable> {
    let packet = TracedPacket::new(packet, &walker.node);
    let made_here = packet.made_here;
    let start = vec![(packet, Verdict::Accept)];
    let first = match made_here {
        true => {
            let served = serve(walker, hook(walker, "OUTPUT", &OUTPUT, start)?);
            hook(walker, "OUTPUT", &OUTPUT_BEHIND, [served.sent, served.others].concat())?
        }
        false => hook(walker, "PREROUTING", &PREROUTING, start)?,
    };
    let mut ends = Vec::new();
    // Where it goes on depends on where the first hook sent it.
    for (packet, verdict) in first {
        let stays = walker.node.is_local(packet.destination.ip());
        let way = vec![(packet, verdict)];
        ends.extend(match (made_here, stays) {
            (true, true) => {
                let mut way = hook(walker, "POSTROUTING", &POSTROUTING, way)?;
                way.iter_mut().for_each(|(packet, _)| packet.loop_back());
                hook(walker, "INPUT", &INPUT, way)?
            }
            (true, false) => hook(walker, "POSTROUTING", &POSTROUTING, way)?,
            (false, true) => {
                let served = serve(walker, hook(walker, "INPUT", &INPUT, way)?);
                let mut sent = served.sent;
                sent.iter_mut().for_each(|(packet, _)| packet.leave());
                let sent = hook(walker, "OUTPUT", &OUTPUT_SERVED, sent)?;
                [hook(walker, "POSTROUTING", &POSTROUTING, sent)?, served.others].concat()
            }
            (false, false) => {
                let mut way = hook(walker, "FORWARD", &FORWARD, way)?;
                way.iter_mut().for_each(|(packet, _)| packet.leave());
                hook(walker, "POSTROUTING", &POSTROUTING, way)?
            }
        });
    }
    Ok(ends.into_iter().map(|(packet, verdict)| packet.end(verdict)).collect())
}

/// What the tables of a hook make of packets that nobody has refused.
fn hook(walker: &Walker, chain: &str, tables: &[&str], mut ways: Ways) -> Result<Ways, Untraceable> {
    for name in tables {
        let Some(table) = walker.tables.iter().find(|table| table.name == *name) else { continue };
        let mut after = Vec::new();
        for (packet, verdict) in ways {
            match verdict {
                Verdict::Accept => after.extend(table.hook(walker, chain, packet)?),
                _ => after.push((packet, verdict)),
            }
        }
        ways = after;
    }
    Ok(ways)
}
