//! Which server block answers a query that came in by one port.

mod chain;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::log::{Answered, Logger};
use crate::metrics::{Counted, Counts, Plugin};
use crate::wire::{Name, Query, Reject, Reply, rcode};

use chain::Step;

pub(crate) use chain::{Chain, Parts};
pub(crate) use shared::Shared;

/// The server blocks of one port, those with longer zones first.
#[derive(Debug)]
pub(crate) struct Plan {
    blocks: Vec<Entry>,
}

/// A server block under one of its zones.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The zone.
    pub(crate) zone: Name,
    /// The block.
    pub(crate) chain: Arc<Chain>,
    /// Where its queries are counted, if they are.
    pub(crate) counts: Option<Arc<Counts>>,
    /// Where they are logged, if they are.
    pub(crate) log: Option<Arc<Logger>>,
}

/// What became of a packet so far, for counting it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    /// What is to be done about it.
    pub(crate) next: Next,
    /// Who answered.
    pub(crate) plugin: Plugin,
    /// The entry of the plan that it is for, if it could be read.
    entry: Option<usize>,
    kind: u16,
    dnssec_ok: bool,
}

/// What is to be done about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Send the reply that was written.
    Reply,
    /// Nothing.
    Silence,
    /// Hand the packet to [`Plan::finish`], which may wait for others.
    Later,
}

/// How many names a reply may lead through that are asked anew, one for another.
const DEEPEST: usize = 8;

impl Plan {
    /// A plan of blocks with their zones, in any order.
    pub(crate) fn new(mut blocks: Vec<Entry>) -> Self {
        blocks.sort_by_key(|entry| std::cmp::Reverse(entry.zone.labels()));
        Self { blocks }
    }

    fn entry(&self, name: &Name) -> Option<usize> {
        self.blocks.iter().position(|entry| name.below(&entry.zone).is_some())
    }

    fn chain(&self, name: &Name) -> Option<&Arc<Chain>> {
        self.entry(name).map(|at| &self.blocks[at].chain)
    }

    /// Answers a packet at once into `out`, as far as that goes.
    pub(crate) fn begin(&self, packet: &[u8], client: Client, out: &mut Vec<u8>) -> Outcome {
        let unread = |next| Outcome { next, plugin: Plugin::None, entry: None, kind: 0, dnssec_ok: false };
        let query = match Query::decode(packet) {
            Ok(query) => query,
            Err(Reject::Silence) => return unread(Next::Silence),
            Err(Reject::Header { id, flags, rcode }) => {
                Reply::header_only(id, flags, rcode, out);
                return unread(Next::Reply);
            }
        };
        let entry = self.entry(&query.name);
        let (next, plugin) = match entry.map(|at| self.blocks[at].chain.begin(&query, client, out)) {
            None => {
                Reply::failure(&query, rcode::REFUSED, out);
                (Next::Reply, Plugin::None)
            }
            Some(Step::Reply(plugin)) => (Next::Reply, plugin),
            Some(Step::Silence) => (Next::Silence, Plugin::Limits),
            Some(Step::Foreign | Step::Resolve(_) | Step::Later) => (Next::Later, Plugin::Forward),
        };
        let dnssec_ok = query.edns.is_some_and(|edns| edns.dnssec_ok);
        Outcome { next, plugin, entry, kind: query.kind, dnssec_ok }
    }

    /// Whether queries are counted or logged at all.
    pub(crate) fn counts(&self) -> bool {
        self.blocks.iter().any(|entry| entry.counts.is_some() || entry.log.is_some())
    }

    /// Counts and logs a packet that was answered, on the thread of this number; 0 is any task.
    pub(crate) fn count(
        &self,
        thread: usize,
        outcome: &Outcome,
        client: Client,
        (packet, reply): (&[u8], &[u8]),
        took: Duration,
    ) {
        let Some(entry) = outcome.entry.map(|at| &self.blocks[at]) else { return };
        if let Some(log) = &entry.log {
            log.note(&Answered { client, packet, reply, took });
        }
        let Some(counts) = &entry.counts else { return };
        let counted = Counted {
            transport: client.transport,
            v6: client.address.is_ipv6(),
            kind: outcome.kind,
            dnssec_ok: outcome.dnssec_ok,
            rcode: reply.get(3).map_or(0, |byte| u16::from(byte & 0xF)),
            plugin: outcome.plugin,
            asked: packet.len(),
            answered: reply.len(),
        };
        counts.count(thread, &counted, took);
    }

    /// The messages that a packet asks for, if it asks for a zone whole and may have it.
    pub(crate) fn transfer(&self, packet: &[u8], client: Client) -> Option<Vec<Vec<u8>>> {
        let query = Query::decode(packet).ok()?;
        self.chain(&query.name)?.transfer(&query, client)
    }

    /// Answers a packet, however long that takes. The reply stays empty if there is nothing to send.
    pub(crate) async fn finish(&self, packet: &[u8], client: Client, out: &mut Vec<u8>) {
        self.finish_at(packet, client, out, 0).await;
    }

    /// Like [`Plan::finish`], for a question that another one led to, `depth` steps before.
    pub(crate) async fn finish_at(&self, packet: &[u8], client: Client, out: &mut Vec<u8>, depth: usize) {
        let Ok(query) = Query::decode(packet) else { return };
        match self.chain(&query.name) {
            Some(chain) if depth < DEEPEST => Box::pin(chain.finish(self, &query, client, out, depth)).await,
            Some(_) => Reply::failure(&query, rcode::SERVFAIL, out),
            None => Reply::failure(&query, rcode::REFUSED, out),
        }
    }
}
