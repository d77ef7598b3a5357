//! Sockets in front of the zone.

pub(crate) mod tcp;
pub(crate) mod udp;

use std::sync::{PoisonError, RwLock};

use tokio::sync::OwnedSemaphorePermit;

use crate::answer::{Outside, Step, Transport, answer};
use crate::forward::Forwarder;
use crate::wire::{Query, Reply, flag, rcode};
use crate::zone::{Change, Zone};

/// What all sockets answer from.
#[derive(Debug)]
pub(crate) struct Server {
    /// Held for reading as long as one reply is written, for writing as long as a few changes are swapped in.
    zone: RwLock<Zone>,
    forwarder: Forwarder,
}

/// A query that only an upstream resolver can answer.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Its place among those under way.
    _place: OwnedSemaphorePermit,
    packet: Vec<u8>,
    transport: Transport,
    /// The target of an ExternalName Service; `None` if the whole question goes on.
    alias: Option<Box<[u8]>>,
}

impl Server {
    /// A server for a zone.
    pub(crate) fn new(zone: Zone, forwarder: Forwarder) -> Self {
        Self { zone: RwLock::new(zone), forwarder }
    }

    /// Swaps changes in, at a time given in seconds since 1970.
    pub(crate) fn publish(&self, changes: Vec<Change>, now: u64) {
        let mut zone = self.zone.write().unwrap_or_else(PoisonError::into_inner);
        changes.into_iter().for_each(|change| zone.apply(change, now));
    }

    fn answer(&self, packet: &[u8], transport: Transport, outside: Outside<'_>, out: &mut Vec<u8>) -> Step {
        let zone = self.zone.read().unwrap_or_else(PoisonError::into_inner);
        answer(&zone, packet, transport, outside, self.forwarder.available(), out)
    }

    /// Answers a packet at once into `out`, which stays empty if there is nothing to send; or returns what to
    /// hand to [`Server::finish`]. While too many queries are under way a further one is refused, as CoreDNS does,
    /// and of a chain only the part inside the cluster is told.
    pub(crate) fn begin(&self, packet: &[u8], transport: Transport, out: &mut Vec<u8>) -> Option<Pending> {
        let outside = if self.forwarder.available() { Outside::Unasked } else { Outside::Unknown };
        let alias = match self.answer(packet, transport, outside, out) {
            Step::Reply => return None,
            Step::Silence => {
                out.clear();
                return None;
            }
            Step::Forward => None,
            Step::Resolve(target) => Some(target),
        };
        let place = self.forwarder.place();
        if let Some(_place) = place {
            out.clear();
            return Some(Pending { _place, packet: packet.to_vec(), transport, alias });
        }
        if alias.is_none() {
            refuse(packet, transport, out);
        } else {
            self.answer(packet, transport, Outside::Unknown, out);
        }
        None
    }

    /// Answers a query with the help of an upstream resolver.
    pub(crate) async fn finish(&self, pending: Pending, out: &mut Vec<u8>) {
        let Pending { packet, transport, alias, _place } = pending;
        let Ok(query) = Query::decode(&packet) else { return };
        let Some(target) = alias else {
            match self.forwarder.forward(&query, transport).await {
                Some(reply) => *out = reply,
                None => fail(&query, transport, rcode::SERVFAIL, out),
            }
            return;
        };
        let resolved = self.forwarder.resolve(&target, query.kind).await;
        let outside = match &resolved {
            Some((records, rcode)) => Outside::Resolved { name: &target, records, rcode: *rcode },
            None => Outside::Unknown,
        };
        // The Service may be another one by now; a target that was not asked for is left to the client.
        if self.answer(&packet, transport, outside, out) != Step::Reply {
            fail(&query, transport, rcode::SERVFAIL, out);
        }
    }
}

fn refuse(packet: &[u8], transport: Transport, out: &mut Vec<u8>) {
    if let Ok(query) = Query::decode(packet) {
        fail(&query, transport, rcode::REFUSED, out);
    }
}

fn fail(query: &Query<'_>, transport: Transport, rcode: u16, out: &mut Vec<u8>) {
    let mut reply = Reply::to(query, transport.limit(query), out);
    reply.set(flag::RA);
    reply.finish(rcode);
}
