//! Asking upstream resolvers.

mod exchange;
mod id;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::server::Transport;
use crate::wire::{Edns, HEADER, LARGEST_UDP, Message, Query, Reply, flag, rcode};

use exchange::exchange;
use id::Ids;

/// How many queries may be with upstream resolvers at a time; what kubeadm configures for CoreDNS.
const IN_FLIGHT: usize = 1000;
/// How long one resolver may take before the next one is asked.
const TRY: Duration = Duration::from_secs(1);
/// How long a query may take in all: less than the 5 s after which stub resolvers ask again.
const ALTOGETHER: Duration = Duration::from_secs(4);
/// How often a query is sent at most; a single resolver is tried twice, as a datagram may get lost.
const TRIES: usize = 4;

/// Upstream resolvers.
#[derive(Debug)]
pub(crate) struct Forwarder {
    upstreams: Vec<SocketAddr>,
    /// The one that answered last. It is asked first, so that a dead one costs time only once.
    preferred: AtomicUsize,
    /// Whether the last query was answered by none; said once, not with every query.
    silent: AtomicBool,
    places: Arc<Semaphore>,
    ids: Ids,
}

/// A query as it is sent to a resolver.
#[derive(Debug)]
struct Ask {
    /// Header, question and OPT record; the id is drawn anew for each try.
    packet: Vec<u8>,
    /// Where the question ends.
    question_end: usize,
    /// Whether an answer that does not fit a datagram is fetched over a connection.
    whole: bool,
}

impl Ask {
    fn new(flags: u16, question: &[&[u8]], edns: Option<Edns>, whole: bool) -> Self {
        let mut packet = vec![0; HEADER];
        packet[2..4].copy_from_slice(&flags.to_be_bytes());
        packet[5] = 1;
        question.iter().for_each(|part| packet.extend_from_slice(part));
        let question_end = packet.len();
        if let Some(edns) = edns {
            packet[11] = 1;
            packet.extend_from_slice(&edns.record(0));
        }
        Self { packet, question_end, whole }
    }

    fn question(&self) -> &[u8] {
        &self.packet[HEADER..self.question_end]
    }
}

impl Forwarder {
    /// Asks these resolvers, the first one first.
    pub(crate) fn new(upstreams: Vec<SocketAddr>) -> Self {
        Self {
            upstreams,
            preferred: AtomicUsize::new(0),
            silent: AtomicBool::new(false),
            places: Arc::new(Semaphore::new(IN_FLIGHT)),
            ids: Ids::default(),
        }
    }

    /// Whether there is anybody to ask.
    pub(crate) fn available(&self) -> bool {
        !self.upstreams.is_empty()
    }

    /// A place for one query under way, if there is one left.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// Asks a client's question for it; returns the reply to the client, unless no
    /// resolver answered.
    ///
    /// EDNS goes from hop to hop (RFC 6891, 6.2.6): a resolver is told our own terms, and only if the client
    /// speaks EDNS, so that the reply suits the client as it is.
    pub(crate) async fn forward(
        &self,
        query: &Query<'_>,
        transport: Transport,
        limit: usize,
    ) -> Option<Vec<u8>> {
        let edns = query
            .edns
            .map(|edns| Edns { size: query.udp_limit(LARGEST_UDP) as u16, ..Edns::ours(edns.dnssec_ok) });
        let flags = query.flags & (flag::RD | flag::AD | flag::CD);
        let ask = Ask::new(flags, &[query.question], edns, transport == Transport::Tcp);
        let mut reply = self.ask(ask).await?;
        let code = Message::read(&reply).ok()?.rcode();
        let (bare, long) = (reply.len() == HEADER, reply.len() > limit);
        if bare || long {
            let mut own = Reply::to(query, limit, &mut reply);
            own.set(if long { flag::RA | flag::TC } else { flag::RA });
            own.finish(code);
            return Some(reply);
        }
        reply[..2].copy_from_slice(&query.id.to_be_bytes());
        // The name in the client's own case.
        reply[HEADER..HEADER + query.question.len()].copy_from_slice(query.question);
        Some(reply)
    }

    /// Asks one resolver after the other until one knows. If none does, what one said of its failure is passed
    /// on.
    async fn ask(&self, mut ask: Ask) -> Option<Vec<u8>> {
        let first = self.preferred.load(Ordering::Relaxed);
        let end = Instant::now() + ALTOGETHER;
        let mut failed = None;
        for turn in (first..).take(self.upstreams.len().clamp(2, TRIES)) {
            let which = turn % self.upstreams.len();
            ask.packet[..2].copy_from_slice(&self.ids.next().to_be_bytes());
            let until = end.min(Instant::now() + TRY);
            match timeout_at(until, exchange(self.upstreams[which], &ask)).await {
                Ok(Ok(reply)) if knows(&reply) => {
                    self.preferred.store(which, Ordering::Relaxed);
                    if self.silent.swap(false, Ordering::Relaxed) {
                        tracing::info!(upstream = %self.upstreams[which], "an upstream resolver answers again");
                    }
                    return Some(reply);
                }
                Ok(Ok(reply)) => failed = Some(reply),
                Ok(Err(error)) => {
                    tracing::debug!(upstream = %self.upstreams[which], %error, "an upstream resolver cannot be asked");
                }
                Err(_) => {
                    tracing::debug!(upstream = %self.upstreams[which], "an upstream resolver does not answer");
                }
            }
        }
        if failed.is_none() && !self.silent.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                upstreams = ?self.upstreams,
                "no upstream resolver answers, so names outside the cluster fail; check that they can be reached"
            );
        }
        failed
    }
}

/// Whether a reply settles the question, so that no other resolver needs to be asked.
fn knows(reply: &[u8]) -> bool {
    Message::read(reply).is_ok_and(|message| {
        matches!(message.rcode(), rcode::NOERROR | rcode::NXDOMAIN) && !message.is_bare()
    })
}

#[cfg(test)]
mod tests;
