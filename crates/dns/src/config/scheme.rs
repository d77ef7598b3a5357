//! The protocols, zones and ports of a server block.

use crate::wire::Name;

/// The protocol by which queries come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scheme {
    /// DNS over UDP and TCP (RFC 1035).
    Dns,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484).
    Https,
}

impl Scheme {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Dns, Self::Tls, Self::Https];

    /// The port where none is named.
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Dns => 53,
            Self::Tls => 853,
            Self::Https => 443,
        }
    }

    /// The text before `://` in the key of a server block, in the address of an upstream resolver, and in the label
    /// `server` of metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Https => "https",
        }
    }
}

/// A zone that a server block serves at a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    /// The protocol by which queries come in.
    pub(crate) scheme: Scheme,
    /// The zone of the names that the block takes.
    pub(crate) zone: Name,
    /// The port.
    pub(crate) port: u16,
}
