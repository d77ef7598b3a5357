//! `rewrite` at work.

use futures::FutureExt;
use futures::future::BoxFuture;

use super::RewriteRule;
use super::rules::Rules;
use crate::plugin::{Handled, Handler, Parts, Request, Rest};
use crate::wire::{CLASS_IN, Message, Query, Reply, Section, rcode};

/// Makes the handler of `rewrite`.
pub(in crate::plugin) fn handler(value: &[RewriteRule], _: &Parts) -> Option<Box<dyn Handler>> {
    let handler = || Box::new(Rewrite { rules: Rules::new(value.to_vec()) });
    (!value.is_empty()).then(|| handler() as Box<dyn Handler>)
}

#[derive(Debug)]
struct Rewrite {
    rules: Rules,
}

impl Handler for Rewrite {
    fn begin(&self, request: &Request<'_>, _: &mut Vec<u8>) -> Handled {
        if self.rules.applies(request.query) { Handled::Wait } else { Handled::Next }
    }

    fn finish<'a>(
        &'a self,
        request: &'a Request<'a>,
        rest: &'a dyn Rest,
        out: &'a mut Vec<u8>,
    ) -> BoxFuture<'a, ()> {
        self.rewrite(request, rest, out).boxed()
    }
}

impl Rewrite {
    async fn rewrite(&self, request: &Request<'_>, rest: &dyn Rest, out: &mut Vec<u8>) {
        let query = request.query;
        let Some(rewritten) = self.rules.question(query) else { return rest.finish(request, out).await };
        let Ok(rewritten) = rewritten else { return Reply::failure(query, rcode::SERVFAIL, out) };
        let packet = query.with_question(&rewritten.name, rewritten.kind, rewritten.class);
        let Ok(inner) = Query::decode(&packet) else { return Reply::failure(query, rcode::SERVFAIL, out) };
        rest.finish(&request.internal(&inner), out).await;
        let mut alias = self.rules.alias(&rewritten, out);
        if let Some(alias) = &mut alias {
            let mut found = Vec::new();
            let packet = Query::packet(alias.target.wire(), rewritten.kind, CLASS_IN);
            rest.ask(&packet, request.client.internal(), &mut found).await;
            let records = Message::read(&found).and_then(Message::records).unwrap_or_default();
            let answers = records.into_iter().filter(|(section, _)| *section == Section::Answer);
            alias.followed = answers.map(|(_, record)| record).collect();
        }
        self.rules.answer(&rewritten, query, alias, request.limit, out);
    }
}
