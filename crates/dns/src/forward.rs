//! Asking upstream resolvers.

mod exchange;
mod id;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::answer::Transport;
use crate::wire::{CLASS_IN, Edns, HEADER, Message, Query, Record, Reply, flag, rcode};

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
    places: Semaphore,
    ids: Ids,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Too many queries are under way.
    Busy,
    /// No resolver answered.
    Silence,
}

impl Failure {
    /// The response code that tells a client.
    pub(crate) fn rcode(self) -> u16 {
        match self {
            Self::Busy => rcode::REFUSED,
            Self::Silence => rcode::SERVFAIL,
        }
    }
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
            places: Semaphore::new(IN_FLIGHT),
            ids: Ids::default(),
        }
    }

    /// Whether there is anybody to ask.
    pub(crate) fn available(&self) -> bool {
        !self.upstreams.is_empty()
    }

    /// Asks a client's question for it; returns the reply to the client.
    ///
    /// EDNS goes from hop to hop (RFC 6891, 6.2.6): a resolver is told our own terms, and only if the client
    /// speaks EDNS, so that the reply suits the client as it is.
    pub(crate) async fn forward(&self, query: &Query<'_>, transport: Transport) -> Result<Vec<u8>, Failure> {
        let edns =
            query.edns.map(|edns| Edns { size: query.udp_limit() as u16, ..Edns::ours(edns.dnssec_ok) });
        let flags = query.flags & (flag::RD | flag::AD | flag::CD);
        let ask = Ask::new(flags, &[query.question], edns, transport == Transport::Tcp);
        let mut reply = self.ask(ask).await?;
        if reply.len() > transport.limit(query) {
            let mut cut = Reply::to(query, transport.limit(query), &mut reply);
            cut.set(flag::TC | flag::RA);
            cut.finish(rcode::NOERROR);
            return Ok(reply);
        }
        reply[..2].copy_from_slice(&query.id.to_be_bytes());
        if reply.len() > HEADER {
            // In the client's own case.
            reply[HEADER..HEADER + query.question.len()].copy_from_slice(query.question);
        }
        Ok(reply)
    }

    /// Asks for the addresses of a name given in wire form; returns them with the response code.
    pub(crate) async fn resolve(&self, name: &[u8], kind: u16) -> Result<(Vec<Record>, u16), Failure> {
        let question = [name, &kind.to_be_bytes(), &CLASS_IN.to_be_bytes()];
        let reply = self.ask(Ask::new(flag::RD, &question, Some(Edns::ours(false)), true)).await?;
        let message = Message::read(&reply).map_err(|_| Failure::Silence)?;
        match message.rcode() {
            code @ (rcode::NOERROR | rcode::NXDOMAIN) => {
                Ok((message.addresses().map_err(|_| Failure::Silence)?, code))
            }
            _ => Err(Failure::Silence),
        }
    }

    /// Asks one resolver after the other until one knows. If none does, what one said of its failure is passed on.
    async fn ask(&self, mut ask: Ask) -> Result<Vec<u8>, Failure> {
        let Ok(_place) = self.places.try_acquire() else { return Err(Failure::Busy) };
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
                    return Ok(reply);
                }
                Ok(Ok(reply)) => failed = Some(reply),
                Ok(Err(error)) => {
                    tracing::debug!(upstream = %self.upstreams[which], %error, "an upstream resolver cannot be asked");
                }
                Err(_) => {
                    tracing::debug!(upstream = %self.upstreams[which], "an upstream resolver does not answer")
                }
            }
        }
        failed.ok_or(Failure::Silence)
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
