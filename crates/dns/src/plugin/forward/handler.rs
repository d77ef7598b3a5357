//! `forward` at work.

use futures::FutureExt;
use futures::future::BoxFuture;

use super::ForwardOptions;
use crate::plugin::{Handled, Handler, Parts, Request, Rest};
use crate::recursion::Recursion;

/// Makes the handler of all `forward` directives of a block.
pub(in crate::plugin) fn handler(value: &[ForwardOptions], parts: &Parts) -> Option<Box<dyn Handler>> {
    let handler = || Box::new(Forward { recursion: parts.recursion.clone() });
    (!value.is_empty()).then(|| handler() as Box<dyn Handler>)
}

#[derive(Debug)]
struct Forward {
    recursion: Recursion,
}

impl Handler for Forward {
    fn begin(&self, request: &Request<'_>, _: &mut Vec<u8>) -> Handled {
        if self.recursion.takes(&request.query.name) { Handled::Wait } else { Handled::Next }
    }

    fn finish<'a>(
        &'a self,
        request: &'a Request<'a>,
        _: &'a dyn Rest,
        out: &'a mut Vec<u8>,
    ) -> BoxFuture<'a, ()> {
        self.recursion.ask(request.query, request.limit, out).boxed()
    }
}
