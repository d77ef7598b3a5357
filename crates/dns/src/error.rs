//! Why the server stopped.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the server stopped, or did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster's domain cannot be written in a packet (RFC 1035, 2.3.4).
    #[error("{0:?} is no DNS domain; use labels of 1 to 63 characters joined by dots, such as cluster.local")]
    Domain(String),
    /// A socket that was handed over cannot be used.
    #[error("a DNS socket cannot be used: {0}; check that it is bound and still open")]
    Socket(#[source] io::Error),
    /// Queries cannot be logged.
    #[error("queries cannot be logged, the machine has no thread left: {0}")]
    Log(#[source] io::Error),
    /// An address cannot be listened on.
    #[error(
        "DNS cannot listen on {address}: {source}; is another DNS server there? Choose another port or `bind`"
    )]
    Bind {
        /// The address that cannot be listened on.
        address: SocketAddr,
        /// The error of the kernel.
        source: io::Error,
    },
    /// A file that the Corefile names cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A certificate or its key cannot be used.
    #[error("{} cannot be used for TLS: {source}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The API server that the Corefile names cannot be asked.
    #[error("the API server cannot be asked: {0}; check what `kubernetes` says of it")]
    Api(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The stream of events ended, so answers would become outdated.
    #[error("the watches of Services, EndpointSlices and Namespaces ended; start DNS again")]
    WatchEnded,
}
