//! What the DNS server needs to know.

use std::net::SocketAddr;

/// What the DNS server needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster's domain, for example `cluster.local`.
    pub domain: String,
    /// Where other names are asked, in order of preference. Without any they are refused (RFC 1035, 4.1.1): the
    /// server knows nothing of them, and saying that they do not exist would be a lie.
    pub upstreams: Vec<SocketAddr>,
}
