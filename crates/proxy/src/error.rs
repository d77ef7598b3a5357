//! What can go wrong.

use std::net::SocketAddr;

use thiserror::Error;

/// Why the proxy cannot work.
#[derive(Debug, Error)]
pub enum Error {
    /// The rules could not be loaded.
    #[error("cannot load the Service rules: {0}")]
    Load(#[source] nfnetlink::Error),
    /// The rules could not be removed.
    #[error("cannot remove the Service rules (nft delete table inet portolan does the same): {0}")]
    Cleanup(#[source] nfnetlink::Error),
    /// A mode that works by other programs or parts of the kernel failed; the text says which and what to do.
    #[error("{0}")]
    Mode(String),
    /// A server cannot listen.
    #[error("cannot listen on {address}: {source}; is another proxy running?")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Metrics cannot be set up.
    #[error("cannot set up metrics: {0}")]
    Metrics(#[source] prometheus::Error),
    /// The rules of iptables mode could not be loaded or removed.
    #[error(transparent)]
    Iptables(#[from] crate::iptables::Failure),
    /// The watches ended, which they do only when the client is shut down.
    #[error("the watches on the API server ended; start the proxy again")]
    WatchEnded,
}
