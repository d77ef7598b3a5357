//! The client that sent a query, and the transport that the query came by.

use std::net::{IpAddr, SocketAddr};

use crate::wire::{LARGEST_TCP, Query};

/// The client that sent a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    /// Its address. An IPv4 address that the socket gives as an IPv6 address (`::ffff:192.0.2.1`) is an IPv4 address
    /// here.
    pub(crate) address: IpAddr,
    /// Its port.
    pub(crate) port: u16,
    /// How the query came, which decides how large the reply may be.
    pub(crate) transport: Transport,
}

impl Client {
    /// The client at a socket address.
    pub(crate) fn of(socket: SocketAddr, transport: Transport) -> Self {
        Self { address: socket.ip().to_canonical(), port: socket.port(), transport }
    }

    /// The same client, for a question that the server asks itself on the way to the reply. The answer to that is not
    /// sent in a datagram, so its size is not limited.
    pub(crate) fn internal(self) -> Self {
        Self { transport: Transport::Tcp, ..self }
    }
}

/// The transport of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Transport {
    /// One datagram (UDP).
    Udp,
    /// A connection: TCP, TLS or HTTPS.
    Tcp,
}

impl Transport {
    /// The size of the largest reply to a query, in bytes; over UDP at most `buffer`.
    pub(crate) fn limit(self, query: &Query<'_>, buffer: usize) -> usize {
        match self {
            Self::Udp => query.udp_limit(buffer),
            Self::Tcp => LARGEST_TCP,
        }
    }
}
