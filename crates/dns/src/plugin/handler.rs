//! What a plugin does with queries.

use std::fmt::Debug;

use futures::future::BoxFuture;

use crate::client::Client;
use crate::wire::{LARGEST_TCP, Query};

/// A query on its way through the plugins of a server block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    /// The query.
    pub(crate) query: &'a Query<'a>,
    /// The client that it is from.
    pub(crate) client: Client,
    /// The size of the largest reply, in bytes.
    pub(crate) limit: usize,
}

impl Request<'_> {
    /// Another question of the same client, asked by the server itself on the way to the reply.
    pub(crate) fn internal<'a>(&self, query: &'a Query<'a>) -> Request<'a> {
        Request { query, client: self.client.internal(), limit: LARGEST_TCP }
    }
}

/// What a plugin did with a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handled {
    /// It wrote the reply.
    Reply,
    /// It decided that there is no reply.
    Drop,
    /// Nothing: the next plugin handles the query.
    Next,
    /// Nothing yet: the reply depends on other questions or on upstream resolvers. [`Handler::finish`] asks them.
    Wait,
}

/// A plugin of a server block at work.
pub(crate) trait Handler: Debug + Send + Sync {
    /// Handles a query without waiting, and writes the reply into `out` if it has one. Called on the hot path: known
    /// names are answered without a lock and without allocating memory.
    fn begin(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Handled;

    /// Handles a query for which [`Handler::begin`] returned [`Handled::Wait`].
    fn finish<'a>(
        &'a self,
        request: &'a Request<'a>,
        rest: &'a dyn Rest,
        out: &'a mut Vec<u8>,
    ) -> BoxFuture<'a, ()> {
        rest.finish(request, out)
    }

    /// The messages of a zone transfer, if the query asks for one and its client may have it.
    fn transfer(&self, _request: &Request<'_>) -> Option<Vec<Vec<u8>>> {
        None
    }
}

/// What a plugin can ask on the way to a reply.
pub(crate) trait Rest: Sync {
    /// Has a query handled by the plugins behind this one.
    fn finish<'a>(&'a self, request: &'a Request<'a>, out: &'a mut Vec<u8>) -> BoxFuture<'a, ()>;

    /// Has a query answered by the server block whose zone its name is in, from its first plugin on.
    fn ask<'a>(&'a self, packet: &'a [u8], client: Client, out: &'a mut Vec<u8>) -> BoxFuture<'a, ()>;
}
