//! Why the server stopped.

use std::io;

/// Why the server stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster's domain cannot be written in a packet (RFC 1035, 2.3.4).
    #[error("{0:?} is no DNS domain; use labels of 1 to 63 characters joined by dots, such as cluster.local")]
    Domain(String),
    /// A socket that was handed over cannot be used.
    #[error("a DNS socket cannot be used: {0}; check that it is bound and still open")]
    Socket(#[source] io::Error),
    /// The stream of events ended, so answers would grow stale.
    #[error("the watches of Services, EndpointSlices and Namespaces ended; start DNS again")]
    WatchEnded,
}
