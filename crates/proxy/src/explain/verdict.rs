//! What becomes of a packet.

use std::fmt;
use std::net::SocketAddr;

/// What becomes of a packet, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It goes to an endpoint.
    Dnat,
    /// Its sender is told that nobody is there.
    Reject,
    /// It vanishes.
    Drop,
    /// No rule of the proxy's concerns it.
    Pass,
}

/// An endpoint's share of connections.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Where it listens.
    pub address: SocketAddr,
    /// How likely it is, above 0 and at most 1.
    pub probability: f64,
    /// Whether it sees the node's address in place of the sender's.
    pub masquerade: bool,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dnat => "dnat",
            Self::Reject => "reject",
            Self::Drop => "drop",
            Self::Pass => "pass",
        })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = if self.masquerade { "masqueraded" } else { "source kept" };
        write!(f, "{} with probability {:.4}, {source}", self.address, self.probability)
    }
}
