//! The plan of a listener: which server block answers a query.

mod chain;
mod settings;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::metrics::{Counted, Counts};
use crate::plugin::Handled;
use crate::plugin::log::{LoggedQuery, Logger};
use crate::wire::{Name, Query, Reject, Reply, rcode};

pub(crate) use chain::Chain;
pub(crate) use shared::SharedPlan;

/// The server blocks of one listener, those with longer zones first.
#[derive(Debug)]
pub(crate) struct Plan {
    blocks: Vec<ServedZone>,
}

/// A server block under one of its zones.
#[derive(Debug)]
pub(crate) struct ServedZone {
    /// The zone.
    pub(crate) zone: Name,
    /// The block at work.
    pub(crate) chain: Arc<Chain>,
    /// The counters of its queries, if it has `prometheus`.
    pub(crate) counts: Option<Arc<Counts>>,
    /// The log of its queries, if it has `log`.
    pub(crate) log: Option<Arc<Logger>>,
}

/// What was done with a packet, for counting and logging it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Summary {
    /// What to do with the packet.
    pub(crate) action: Action,
    /// The row of the plugin that answered, if one did.
    plugin: Option<usize>,
    /// The index of the server block, if the packet could be read.
    entry: Option<usize>,
    kind: u16,
    dnssec_ok: bool,
}

/// What to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send the reply that was written.
    Reply,
    /// Send nothing.
    Drop,
    /// Hand the packet to [`Plan::finish`], which waits for other questions or servers.
    Wait,
}

/// The most questions that lead to each other, as aliases and rules may. More are taken for a circle.
const DEEPEST: usize = 8;

impl Plan {
    /// A plan of blocks with their zones, in any order.
    pub(crate) fn new(mut blocks: Vec<ServedZone>) -> Self {
        blocks.sort_by_key(|entry| std::cmp::Reverse(entry.zone.labels()));
        Self { blocks }
    }

    fn entry(&self, name: &Name) -> Option<usize> {
        self.blocks.iter().position(|entry| name.below(&entry.zone).is_some())
    }

    fn chain(&self, name: &Name) -> Option<&Arc<Chain>> {
        self.entry(name).map(|at| &self.blocks[at].chain)
    }

    /// Handles a packet without waiting, and writes the reply into `out` if there is one.
    pub(crate) fn begin(&self, packet: &[u8], client: Client, out: &mut Vec<u8>) -> Summary {
        let unread = |action| Summary { action, plugin: None, entry: None, kind: 0, dnssec_ok: false };
        let query = match Query::decode(packet) {
            Ok(query) => query,
            Err(Reject::Silence) => return unread(Action::Drop),
            Err(Reject::Header { id, flags, rcode }) => {
                Reply::header_only(id, flags, rcode, out);
                return unread(Action::Reply);
            }
        };
        let entry = self.entry(&query.name);
        let begun = entry.map(|at| self.blocks[at].chain.begin(&query, client, out));
        let (handled, plugin) = begun.unwrap_or_else(|| {
            Reply::failure(&query, rcode::REFUSED, out);
            (Handled::Reply, None)
        });
        let action = match handled {
            Handled::Reply | Handled::Next => Action::Reply,
            Handled::Drop => Action::Drop,
            Handled::Wait => Action::Wait,
        };
        let dnssec_ok = query.edns.is_some_and(|edns| edns.dnssec_ok);
        Summary { action, plugin, entry, kind: query.kind, dnssec_ok }
    }

    /// Whether any queries are counted or logged.
    pub(crate) fn counts(&self) -> bool {
        self.blocks.iter().any(|entry| entry.counts.is_some() || entry.log.is_some())
    }

    /// Counts and logs a packet that was handled. `thread` is the number of the calling thread; 0 is any task.
    pub(crate) fn count(
        &self,
        thread: usize,
        summary: &Summary,
        client: Client,
        (packet, reply): (&[u8], &[u8]),
        took: Duration,
    ) {
        let Some(entry) = summary.entry.map(|at| &self.blocks[at]) else { return };
        if let Some(log) = &entry.log {
            log.log(&LoggedQuery { client, packet, reply, took });
        }
        let Some(counts) = &entry.counts else { return };
        let counted = Counted {
            transport: client.transport,
            v6: client.address.is_ipv6(),
            kind: summary.kind,
            dnssec_ok: summary.dnssec_ok,
            rcode: reply.get(3).map_or(0, |byte| u16::from(byte & 0xF)),
            plugin: summary.plugin,
            asked: packet.len(),
            answered: reply.len(),
        };
        counts.count(thread, &counted, took);
    }

    /// The messages of a zone transfer, if a packet asks for one and its client may have it.
    pub(crate) fn transfer(&self, packet: &[u8], client: Client) -> Option<Vec<Vec<u8>>> {
        let query = Query::decode(packet).ok()?;
        self.chain(&query.name)?.transfer(&query, client)
    }

    /// Handles a packet, and waits for whatever the reply depends on. `out` is empty if there is no reply.
    pub(crate) async fn finish(&self, packet: &[u8], client: Client, out: &mut Vec<u8>) {
        self.finish_at(packet, client, out, 0).await;
    }

    /// Does the same for a question that other questions led to; `depth` is their number.
    pub(crate) async fn finish_at(&self, packet: &[u8], client: Client, out: &mut Vec<u8>, depth: usize) {
        let Ok(query) = Query::decode(packet) else { return };
        match self.chain(&query.name) {
            Some(chain) if depth < DEEPEST => chain.finish(self, &query, client, out, depth).await,
            Some(_) => Reply::failure(&query, rcode::SERVFAIL, out),
            None => Reply::failure(&query, rcode::REFUSED, out),
        }
    }
}
