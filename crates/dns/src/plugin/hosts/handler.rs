//! `hosts` at work.

use std::sync::Arc;

use super::{HostNames, HostsOptions};
use crate::plugin::{Handled, Handler, Parts, Request};

/// Makes the handler of `hosts`.
pub(in crate::plugin) fn handler(_: &Option<HostsOptions>, parts: &Parts) -> Option<Box<dyn Handler>> {
    Some(Box::new(Hosts { names: parts.hosts.clone()? }))
}

#[derive(Debug)]
struct Hosts {
    names: Arc<HostNames>,
}

impl Handler for Hosts {
    fn begin(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Handled {
        let answered = self.names.answer(request.query, request.limit, out);
        if answered { Handled::Reply } else { Handled::Next }
    }
}
