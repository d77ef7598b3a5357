//! Sockets in front of the zone.

pub(crate) mod tcp;
pub(crate) mod udp;

use std::sync::{PoisonError, RwLock};

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
    /// hand to [`Server::finish`].
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
        out.clear();
        Some(Pending { packet: packet.to_vec(), transport, alias })
    }

    /// Answers a query with the help of an upstream resolver.
    pub(crate) async fn finish(&self, pending: Pending, out: &mut Vec<u8>) {
        let Pending { packet, transport, alias } = pending;
        let Ok(query) = Query::decode(&packet) else { return };
        let Some(target) = alias else {
            match self.forwarder.forward(&query, transport).await {
                Ok(reply) => *out = reply,
                Err(failure) => {
                    let mut reply = Reply::to(&query, transport.limit(&query), out);
                    reply.set(flag::RA);
                    reply.finish(failure.rcode());
                }
            }
            return;
        };
        let resolved = self.forwarder.resolve(&target, query.kind).await;
        let outside = match &resolved {
            Ok((records, rcode)) => Outside::Resolved { name: &target, records, rcode: *rcode },
            Err(_) => Outside::Unknown,
        };
        // The Service may have changed meanwhile, once more to a name that nobody was asked for.
        if self.answer(&packet, transport, outside, out) != Step::Reply {
            Reply::to(&query, transport.limit(&query), out).finish(rcode::SERVFAIL);
        }
    }
}
