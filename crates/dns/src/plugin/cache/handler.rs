//! `cache` at work.

use super::CacheOptions;
use crate::plugin::{Handled, Handler, Parts, Request};
use crate::recursion::Recursion;

/// Makes the handler of `cache`.
pub(in crate::plugin) fn handler(value: &Option<CacheOptions>, parts: &Parts) -> Option<Box<dyn Handler>> {
    value.as_ref()?;
    Some(Box::new(Cache { recursion: parts.recursion.clone() }))
}

#[derive(Debug)]
struct Cache {
    recursion: Recursion,
}

impl Handler for Cache {
    fn begin(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Handled {
        let answered = self.recursion.cached(request.query, request.limit, out);
        if answered { Handled::Reply } else { Handled::Next }
    }
}
