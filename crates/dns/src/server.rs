//! Sockets in front of the names.

pub(crate) mod certificate;
pub(crate) mod chain;
mod https;
pub(crate) mod plan;
pub(crate) mod sockets;
pub(crate) mod tcp;
pub(crate) mod udp;

use std::net::{IpAddr, SocketAddr};

use crate::wire::Query;

/// Who asks, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    /// The address.
    pub(crate) address: IpAddr,
    /// The port.
    pub(crate) port: u16,
    /// The way that the query came, which decides how large its reply may be.
    pub(crate) transport: Transport,
}

impl Client {
    /// Who sends from a socket.
    pub(crate) fn of(socket: SocketAddr, transport: Transport) -> Self {
        Self { address: socket.ip().to_canonical(), port: socket.port(), transport }
    }
}

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Transport {
    /// In one datagram.
    Udp,
    /// On a connection.
    Tcp,
}

impl Transport {
    /// The largest reply to a query, in bytes; over UDP `buffer` at most.
    pub(crate) fn limit(self, query: &Query<'_>, buffer: usize) -> usize {
        match self {
            Self::Udp => query.udp_limit(buffer),
            Self::Tcp => crate::wire::LARGEST_TCP,
        }
    }
}
