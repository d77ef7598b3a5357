//! `kubernetes` at work.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::KubernetesOptions;
use crate::answer::{AliasTarget, ClusterAnswer, ReplyOptions, answer};
use crate::plugin::{Handled, Handler, Parts, Request, Rest};
use crate::wire::{CLASS_IN, Message, Query, Reply, rcode};
use crate::zone::View;

/// Makes the handler of `kubernetes`.
pub(in crate::plugin) fn handler(_: &Option<KubernetesOptions>, parts: &Parts) -> Option<Box<dyn Handler>> {
    let views: Vec<_> = [&parts.imports, &parts.cluster].into_iter().flatten().cloned().collect();
    (!views.is_empty())
        .then(|| Box::new(Kubernetes { views, options: parts.reply_options }) as Box<dyn Handler>)
}

#[derive(Debug)]
struct Kubernetes {
    /// The views, of which that of ServiceImports comes first.
    views: Vec<Arc<View>>,
    options: ReplyOptions,
}

impl Kubernetes {
    /// The answer of the first view that has the name.
    fn answer(&self, request: &Request<'_>, target: AliasTarget<'_>, out: &mut Vec<u8>) -> ClusterAnswer {
        for view in self.views.iter().filter(|_| request.query.class == CLASS_IN) {
            match answer(view, request.query, request.limit, target, self.options, out) {
                ClusterAnswer::Foreign => {}
                found => return found,
            }
        }
        ClusterAnswer::Foreign
    }

    async fn resolve(&self, request: &Request<'_>, rest: &dyn Rest, out: &mut Vec<u8>) {
        let target = match self.answer(request, AliasTarget::NotAsked, out) {
            ClusterAnswer::Written => return,
            ClusterAnswer::Foreign => return rest.finish(request, out).await,
            ClusterAnswer::NeedsTarget(target) => target,
        };
        // The target may be in the zone of another block, or rewritten.
        let mut reply = Vec::new();
        let packet = Query::packet(&target, request.query.kind, CLASS_IN);
        rest.ask(&packet, request.client.internal(), &mut reply).await;
        let found = Message::read(&reply).ok().and_then(|message| message.chain(&target));
        let found = match &found {
            Some((records, rcode)) => AliasTarget::Resolved { name: &target, records, rcode: *rcode },
            None => AliasTarget::Unknown,
        };
        // The Service may have changed meanwhile: without the alias there is nothing to answer with.
        if self.answer(request, found, out) != ClusterAnswer::Written {
            Reply::failure(request.query, rcode::SERVFAIL, out);
        }
    }
}

impl Handler for Kubernetes {
    fn begin(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Handled {
        match self.answer(request, AliasTarget::NotAsked, out) {
            ClusterAnswer::Written => Handled::Reply,
            ClusterAnswer::NeedsTarget(_) => Handled::Wait,
            ClusterAnswer::Foreign => Handled::Next,
        }
    }

    /// Has the target of an alias that leads out of the cluster resolved, and answers with both.
    fn finish<'a>(
        &'a self,
        request: &'a Request<'a>,
        rest: &'a dyn Rest,
        out: &'a mut Vec<u8>,
    ) -> BoxFuture<'a, ()> {
        self.resolve(request, rest, out).boxed()
    }
}
