//! What can go wrong.

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
    /// The rules of iptables mode could not be loaded or removed.
    #[error(transparent)]
    Iptables(#[from] crate::iptables::Failure),
    /// The watches ended, which they do only when the client is shut down.
    #[error("the watches on the API server ended; start the proxy again")]
    WatchEnded,
}
