//! A server block at work: the plugins that a query passes, in the order of their table.

use futures::FutureExt;
use futures::future::BoxFuture;

use super::Plan;
use crate::client::Client;
use crate::plugin::{Handled, Handler, PLUGINS, Parts, Plugins, Request, Rest, Stage};
use crate::wire::{CLASS_IN, LARGEST_UDP, Query, Reply, kind, rcode};

/// A server block at work.
#[derive(Debug)]
pub(crate) struct Chain {
    /// The size of the largest reply over UDP, in bytes.
    buffer: usize,
    handlers: Vec<Link>,
    /// The index of the first handler behind the stage of admission.
    admitted: usize,
    /// The row of the plugin that metrics name for queries that wait: `forward`.
    waiting: Option<usize>,
}

/// A handler with the row of its plugin.
#[derive(Debug)]
struct Link {
    handler: Box<dyn Handler>,
    /// The row of its plugin; `None` for what every block does.
    plugin: Option<usize>,
}

impl Chain {
    /// The handlers of a server block.
    pub(crate) fn new(plugins: &Plugins, parts: &Parts) -> Self {
        let of = |stage: Stage| {
            let rows = PLUGINS.iter().enumerate();
            rows.filter_map(move |(row, plugin)| {
                let handling = plugin.handling.as_ref().filter(|handling| handling.stage == stage)?;
                Some(Link { handler: (handling.handler)(plugins, parts)?, plugin: Some(row) })
            })
        };
        let mut handlers: Vec<_> = of(Stage::Admission).collect();
        let admitted = handlers.len();
        handlers.extend(of(Stage::Change));
        handlers.push(Link { handler: Box::new(Refusal), plugin: None });
        handlers.extend(of(Stage::Answer));
        Self {
            buffer: plugins.buffer.map_or(LARGEST_UDP, usize::from),
            handlers,
            admitted,
            waiting: PLUGINS.iter().position(|plugin| plugin.name == "forward"),
        }
    }

    fn request<'a>(&self, query: &'a Query<'a>, client: Client) -> Request<'a> {
        Request { query, client, limit: client.transport.limit(query, self.buffer) }
    }

    /// Handles a query without waiting. Returns what became of it, and the row of the plugin that decided so.
    pub(crate) fn begin(
        &self,
        query: &Query<'_>,
        client: Client,
        out: &mut Vec<u8>,
    ) -> (Handled, Option<usize>) {
        let request = self.request(query, client);
        match self.pass(0, &request, out) {
            Some((_, Handled::Wait)) => (Handled::Wait, self.waiting),
            Some((at, handled)) => (handled, self.handlers[at].plugin),
            None => (Handled::Reply, None),
        }
    }

    /// Hands a request to the handlers from the index `from` on, until one handles it. Returns the index of that, and
    /// what it did. If none does, the query is refused and the result is `None`.
    fn pass(&self, from: usize, request: &Request<'_>, out: &mut Vec<u8>) -> Option<(usize, Handled)> {
        for (at, link) in self.handlers.iter().enumerate().skip(from) {
            match link.handler.begin(request, out) {
                Handled::Next => {}
                handled => return Some((at, handled)),
            }
        }
        Reply::failure(request.query, rcode::REFUSED, out);
        None
    }

    /// Handles a query that was admitted, and waits for whatever the reply depends on. `depth` is the number of
    /// questions that led to this one.
    pub(crate) async fn finish(
        &self,
        plan: &Plan,
        query: &Query<'_>,
        client: Client,
        out: &mut Vec<u8>,
        depth: usize,
    ) {
        let rest = Remaining { plan, chain: self, from: self.admitted, depth };
        rest.handle(&self.request(query, client), out).await;
    }

    /// The messages of a zone transfer, if the query asks for one and its client may have it.
    pub(crate) fn transfer(&self, query: &Query<'_>, client: Client) -> Option<Vec<Vec<u8>>> {
        let request = self.request(query, client);
        self.handlers.iter().find_map(|link| link.handler.transfer(&request))
    }
}

/// The handlers of a chain from an index on.
struct Remaining<'a> {
    plan: &'a Plan,
    chain: &'a Chain,
    from: usize,
    depth: usize,
}

impl Remaining<'_> {
    async fn handle(&self, request: &Request<'_>, out: &mut Vec<u8>) {
        out.clear();
        if let Some((at, Handled::Wait)) = self.chain.pass(self.from, request, out) {
            let rest = Remaining { from: at + 1, ..*self };
            self.chain.handlers[at].handler.finish(request, &rest, out).await;
        }
    }
}

impl Rest for Remaining<'_> {
    fn finish<'a>(&'a self, request: &'a Request<'a>, out: &'a mut Vec<u8>) -> BoxFuture<'a, ()> {
        self.handle(request, out).boxed()
    }

    fn ask<'a>(&'a self, packet: &'a [u8], client: Client, out: &'a mut Vec<u8>) -> BoxFuture<'a, ()> {
        self.plan.finish_at(packet, client, out, self.depth + 1).boxed()
    }
}

/// Refuses queries that no plugin answers, whatever their name: another version of EDNS, another class, and zone
/// transfers, which are not answered here.
#[derive(Debug)]
struct Refusal;

impl Handler for Refusal {
    fn begin(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Handled {
        let query = request.query;
        let code = if query.edns.is_some_and(|edns| edns.version != 0) {
            rcode::BADVERS
        } else if query.class != CLASS_IN || matches!(query.kind, kind::AXFR | kind::IXFR) {
            rcode::REFUSED
        } else {
            return Handled::Next;
        };
        Reply::to(query, request.limit, out).finish(code);
        Handled::Reply
    }
}
