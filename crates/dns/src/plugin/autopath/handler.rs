//! `autopath` at work.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::AutopathOptions;
use super::search::{Search, lead_to};
use crate::answer::ReplyOptions;
use crate::plugin::{Handled, Handler, Parts, Request, Rest};
use crate::wire::{Message, Query, rcode};
use crate::zone::View;

/// Makes the handler of `autopath`.
pub(in crate::plugin) fn handler(value: &Option<AutopathOptions>, parts: &Parts) -> Option<Box<dyn Handler>> {
    let cluster = parts.cluster.clone();
    let search = Search::new(value.as_ref()?, cluster.as_deref());
    Some(Box::new(Autopath { search, cluster, options: parts.reply_options }))
}

#[derive(Debug)]
struct Autopath {
    search: Search,
    cluster: Option<Arc<View>>,
    options: ReplyOptions,
}

impl Handler for Autopath {
    fn begin(&self, request: &Request<'_>, _: &mut Vec<u8>) -> Handled {
        let searches = self.search.applies(self.cluster.as_deref(), request.query, request.client);
        if searches { Handled::Wait } else { Handled::Next }
    }

    /// Answers with the first name of the search path that exists, even if it has no records of the type.
    fn finish<'a>(
        &'a self,
        request: &'a Request<'a>,
        rest: &'a dyn Rest,
        out: &'a mut Vec<u8>,
    ) -> BoxFuture<'a, ()> {
        async move {
            let query = request.query;
            let names = self.search.names(self.cluster.as_deref(), query, request.client);
            for name in names.into_iter().flatten() {
                let packet = query.with_question(&name, query.kind, query.class);
                let Ok(inner) = Query::decode(&packet) else { continue };
                rest.finish(&request.internal(&inner), out).await;
                if Message::read(out).is_ok_and(|message| message.rcode() == rcode::NOERROR)
                    && lead_to(query, &name, self.options, request.limit, out)
                {
                    return;
                }
            }
            rest.finish(request, out).await;
        }
        .boxed()
    }
}
