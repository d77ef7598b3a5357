//! How many connections endpoints have.

use std::collections::HashMap;
use std::net::SocketAddr;

use nfnetlink::conntrack::Flow;
use service::objects::Protocol;

/// Connections to endpoints, as the node's connection table counts them. One that ended still counts until the
/// kernel forgets it (two minutes for TCP).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Load(HashMap<(u8, SocketAddr), u64>);

impl Load {
    /// Counts the flows that were translated.
    pub fn count<'a>(flows: impl IntoIterator<Item = &'a Flow>) -> Self {
        let mut counts = HashMap::new();
        for flow in flows.into_iter().filter(|flow| flow.reply_source != flow.destination) {
            *counts.entry((flow.protocol, flow.reply_source)).or_default() += 1;
        }
        Self(counts)
    }

    /// Connections to this endpoint.
    pub fn connections(&self, protocol: Protocol, endpoint: SocketAddr) -> u64 {
        self.0.get(&(protocol.number(), endpoint)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
impl Load {
    pub(super) fn of(counts: &[(SocketAddr, u64)]) -> Self {
        Self(counts.iter().map(|(address, count)| ((Protocol::Tcp.number(), *address), *count)).collect())
    }
}
