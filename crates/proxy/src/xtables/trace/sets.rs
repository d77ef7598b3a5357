//! ipsets, which rules ask about and somebody else knows.

use std::net::{IpAddr, SocketAddr};

use service::objects::Protocol;

/// Says whether a packet is in a set; `None` if there is no such set or it cannot be asked so.
pub type Sets = dyn Fn(&Lookup<'_>) -> Option<bool> + Send + Sync;

/// What a rule asks about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookup<'a> {
    /// The name of the set.
    pub set: &'a str,
    /// Which part of the packet stands for each part of an entry, such as `dst,dst` for address and port.
    pub directions: &'a [Direction],
    /// Where the packet comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// Its protocol.
    pub protocol: Protocol,
}

/// Which end of a packet is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// `src`.
    Source,
    /// `dst`.
    Destination,
}
