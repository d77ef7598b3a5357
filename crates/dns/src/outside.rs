//! Names that are not the cluster's.

use std::net::SocketAddr;

use crate::config::{Forward, Plugins, Upstream, UpstreamAddress};
use crate::forward::Forwarder;
use crate::server::Transport;
use crate::server::plan::fail;
use crate::wire::{Name, Query, rcode};

/// Whom to ask for names that are not the cluster's.
#[derive(Debug)]
pub(crate) struct Outside {
    forwards: Vec<(Forward, Forwarder)>,
}

impl Outside {
    /// As a server block says. `own` are the addresses of this server, which is not asked by itself.
    pub(crate) fn new(plugins: &Plugins, own: &[SocketAddr]) -> Self {
        let forwards = plugins.forward.iter().map(|forward| {
            let sockets = forward.to.iter().filter_map(|upstream| match upstream {
                Upstream::Plain(UpstreamAddress::Socket(socket)) => Some(*socket),
                _ => None,
            });
            let (own_upstreams, upstreams): (Vec<_>, Vec<_>) =
                sockets.partition(|socket| own.contains(socket));
            if !own_upstreams.is_empty() {
                tracing::warn!(?own_upstreams, "left out as upstream resolvers: they are this server");
            }
            (forward.clone(), Forwarder::new(upstreams))
        });
        Self { forwards: forwards.collect() }
    }

    fn forward(&self, name: &Name) -> Option<&Forwarder> {
        let takes = |forward: &Forward| {
            name.below(&forward.from).is_some()
                && !forward.except.iter().any(|zone| name.below(zone).is_some())
        };
        self.forwards.iter().find(|(forward, _)| takes(forward)).map(|(_, forwarder)| forwarder)
    }

    /// Whether somebody can be asked for a name.
    pub(crate) fn takes(&self, name: &Name) -> bool {
        self.forward(name).is_some_and(Forwarder::available)
    }

    /// Writes the reply of `limit` bytes at most, if what was said before tells it.
    pub(crate) fn cached(&self, query: &Query<'_>, limit: usize, out: &mut Vec<u8>) -> bool {
        let _ = (query, limit, out);
        false
    }

    /// Asks, and writes the reply of `limit` bytes at most; a failure if nobody answers.
    pub(crate) async fn ask(&self, query: &Query<'_>, transport: Transport, limit: usize, out: &mut Vec<u8>) {
        let Some(forwarder) = self.forward(&query.name) else { return fail(query, rcode::REFUSED, out) };
        let Some(_place) = forwarder.place() else { return fail(query, rcode::REFUSED, out) };
        match forwarder.forward(query, transport, limit).await {
            Some(reply) => *out = reply,
            None => fail(query, rcode::SERVFAIL, out),
        }
    }
}
