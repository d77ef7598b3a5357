//! A server block at work: the parts that a query passes, in one order.

use std::net::IpAddr;
use std::sync::Arc;

use super::Plan;
use crate::answer::{self, Manner, Outside as Chased, answer};
use crate::autopath::Autopath;
use crate::client::{Client, Transport};
use crate::config::{Plugins, Transfer};
use crate::hosts::Hosts;
use crate::limits::{Limits, Verdict};
use crate::metrics::Plugin;
use crate::recursion::Recursion;
use crate::rewrite::Rewrites;
use crate::template::Templates;
use crate::wire::{CLASS_IN, LARGEST_UDP, Message, Query, Reply, Section, flag, kind, rcode};
use crate::zone::View;

/// A server block at work.
#[derive(Debug)]
pub(crate) struct Chain {
    /// The largest reply over UDP, in bytes.
    buffer: usize,
    manner: Manner,
    limits: Option<Limits>,
    rewrites: Rewrites,
    autopath: Option<Autopath>,
    templates: Templates,
    transfer: Vec<Transfer>,
    hosts: Option<Arc<Hosts>>,
    cluster: Option<View>,
    imports: Option<View>,
    recursion: Recursion,
}

/// What the parts that know have to say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The reply that was written, and by whom.
    Reply(Plugin),
    /// Nothing, on purpose.
    Silence,
    /// Nothing: the name is to be asked elsewhere.
    Foreign,
    /// The addresses of this name, in wire form, must be asked for; answer once more with them.
    Resolve(Box<[u8]>),
    /// It depends on what others say.
    Later,
}

/// What a server block needs that lives longer than it, across a reload.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// The names of the cluster.
    pub(crate) cluster: Option<View>,
    /// The names that it has together with others.
    pub(crate) imports: Option<View>,
    /// The names of files.
    pub(crate) hosts: Option<Arc<Hosts>>,
}

impl Chain {
    /// The server block of a configuration.
    pub(crate) fn new(plugins: &Plugins, parts: Parts, recursion: Recursion) -> Self {
        let search = plugins.autopath.as_ref();
        Self {
            buffer: plugins.buffer.map_or(LARGEST_UDP, usize::from),
            manner: Manner { recursion: !plugins.forward.is_empty(), balance: plugins.balance },
            limits: plugins.limits.map(Limits::new),
            rewrites: Rewrites::new(plugins.rewrite.clone()),
            autopath: search.map(|search| Autopath::new(search, parts.cluster.as_ref())),
            templates: Templates::new(plugins.template.clone()),
            transfer: plugins.transfer.clone(),
            hosts: parts.hosts,
            cluster: parts.cluster,
            imports: parts.imports,
            recursion,
        }
    }

    /// Answers a query at once, as far as that goes.
    pub(crate) fn begin(&self, query: &Query<'_>, client: Client, out: &mut Vec<u8>) -> Step {
        if let Some(limits) = &self.limits
            && client.transport == Transport::Udp
            && self.is_outside(client.address)
        {
            match limits.judge(client.address) {
                Verdict::Pass => {}
                Verdict::Drop => return Step::Silence,
                Verdict::Slip => {
                    let mut reply = Reply::to(query, self.limit(query, client), out);
                    reply.set(flag::TC);
                    reply.finish(rcode::NOERROR);
                    return Step::Reply(Plugin::Limits);
                }
            }
        }
        let changed = self.rewrites.applies(query)
            || self
                .autopath
                .as_ref()
                .is_some_and(|autopath| autopath.applies(self.cluster.as_ref(), query, client));
        if changed {
            return Step::Later;
        }
        self.step(query, client, Chased::Unasked, out)
    }

    /// Whether an address is none of the cluster's, nor one of a private network.
    fn is_outside(&self, address: IpAddr) -> bool {
        let private = match address {
            IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unique_local() || v6.is_loopback() || v6.is_unicast_link_local(),
        };
        !private && !self.cluster.as_ref().is_some_and(|view| view.read().knows(address))
    }

    fn limit(&self, query: &Query<'_>, client: Client) -> usize {
        client.transport.limit(query, self.buffer)
    }

    /// What is known without asking others: templates, files, the cluster, and what others said before.
    fn step(&self, query: &Query<'_>, client: Client, chased: Chased<'_>, out: &mut Vec<u8>) -> Step {
        let limit = self.limit(query, client);
        if let Some(refusal) = refusal(query) {
            Reply::to(query, limit, out).finish(refusal);
            return Step::Reply(Plugin::None);
        }
        if matches!(query.kind, kind::AXFR | kind::IXFR) {
            Reply::to(query, limit, out).finish(rcode::REFUSED);
            return Step::Reply(Plugin::None);
        }
        if self.templates.answer(query, client.address, limit, out) {
            return Step::Reply(Plugin::Template);
        }
        if self.hosts.as_ref().is_some_and(|hosts| hosts.answer(query, limit, out)) {
            return Step::Reply(Plugin::Hosts);
        }
        let views = [&self.imports, &self.cluster].into_iter().flatten();
        for view in views.filter(|_| query.class == CLASS_IN) {
            match answer(view, query, limit, chased, self.manner, out) {
                answer::Step::Reply => return Step::Reply(Plugin::Kubernetes),
                answer::Step::Resolve(target) => return Step::Resolve(target),
                answer::Step::Foreign => {}
            }
        }
        if self.recursion.cached(query, limit, out) {
            return Step::Reply(Plugin::Cache);
        }
        if self.recursion.takes(&query.name) {
            return Step::Foreign;
        }
        Reply::failure(query, rcode::REFUSED, out);
        Step::Reply(Plugin::None)
    }

    /// The messages that carry a zone whole, for those who may have it, over a connection (RFC 5936).
    pub(crate) fn transfer(&self, query: &Query<'_>, client: Client) -> Option<Vec<Vec<u8>>> {
        let admitted = |transfer: &Transfer| {
            transfer.admits(client.address)
                && transfer.zones.iter().any(|zone| query.name.below(zone).is_some())
        };
        let view = self.cluster.as_ref().filter(|view| view.below(&query.name) == Some(0))?;
        let whole = matches!(query.kind, kind::AXFR | kind::IXFR) && query.class == CLASS_IN;
        (whole && view.table().synced() && self.transfer.iter().any(admitted))
            .then(|| crate::transfer::messages(view, query))
    }

    /// Answers a query, however long that takes.
    pub(crate) async fn finish(
        &self,
        plan: &Plan,
        query: &Query<'_>,
        client: Client,
        out: &mut Vec<u8>,
        depth: usize,
    ) {
        if let Some(rewritten) = self.rewrites.question(query) {
            let Ok(rewritten) = rewritten else { return Reply::failure(query, rcode::SERVFAIL, out) };
            let packet = query.with_question(&rewritten.name, rewritten.kind, rewritten.class);
            // The rules of the new name's own block follow, which is this one more often than not.
            match Query::decode(&packet) {
                Ok(inner) => self.search(plan, &inner, client.internal(), out, depth).await,
                Err(_) => return Reply::failure(query, rcode::SERVFAIL, out),
            }
            let mut alias = self.rewrites.alias(&rewritten, out);
            if let Some(alias) = &mut alias {
                let mut found = Vec::new();
                let packet = Query::packet(alias.target.wire(), rewritten.kind, CLASS_IN);
                plan.finish_at(&packet, client.internal(), &mut found, depth + 1).await;
                let records = Message::read(&found).and_then(Message::records).unwrap_or_default();
                let answers = records.into_iter().filter(|(section, _)| *section == Section::Answer);
                alias.followed = answers.map(|(_, record)| record).collect();
            }
            return self.rewrites.answer(&rewritten, query, alias, self.limit(query, client), out);
        }
        self.search(plan, query, client, out, depth).await;
    }

    /// Answers a query with the first name of the client's search path that there is, whatever its types.
    async fn search(&self, plan: &Plan, query: &Query<'_>, client: Client, out: &mut Vec<u8>, depth: usize) {
        let names =
            self.autopath.as_ref().and_then(|autopath| autopath.names(self.cluster.as_ref(), query, client));
        for name in names.into_iter().flatten() {
            let packet = query.with_question(&name, query.kind, query.class);
            let Ok(inner) = Query::decode(&packet) else { continue };
            self.ask(plan, &inner, client.internal(), out, depth).await;
            if Message::read(out).is_ok_and(|message| message.rcode() == rcode::NOERROR) {
                let limit = self.limit(query, client);
                if crate::autopath::lead_to(query, &name, self.manner, limit, out) {
                    return;
                }
            }
        }
        self.ask(plan, query, client, out, depth).await;
    }

    /// Answers a query from what is known here and what upstream resolvers say.
    async fn ask(&self, plan: &Plan, query: &Query<'_>, client: Client, out: &mut Vec<u8>, depth: usize) {
        out.clear();
        let target = match self.step(query, client, Chased::Unasked, out) {
            Step::Reply(_) | Step::Silence | Step::Later => return,
            Step::Foreign => {
                return self.recursion.ask(query, self.limit(query, client), out).await;
            }
            Step::Resolve(target) => target,
        };
        // The target may be in another block, or rewritten.
        let mut resolved = Vec::new();
        let packet = Query::packet(&target, query.kind, CLASS_IN);
        plan.finish_at(&packet, client.internal(), &mut resolved, depth + 1).await;
        let chased = Message::read(&resolved).ok().and_then(|message| message.chain(&target));
        let chased = match &chased {
            Some((records, rcode)) => Chased::Resolved { name: &target, records, rcode: *rcode },
            None => Chased::Unknown,
        };
        // The Service may be another one by now; a target that was not asked for is left to the client.
        if !matches!(self.step(query, client, chased, out), Step::Reply(_)) {
            Reply::failure(query, rcode::SERVFAIL, out);
        }
    }
}

/// The response code for a query that nothing here answers, whatever its name.
fn refusal(query: &Query<'_>) -> Option<u16> {
    if query.edns.is_some_and(|edns| edns.version != 0) {
        return Some(rcode::BADVERS);
    }
    (query.class != CLASS_IN).then_some(rcode::REFUSED)
}
