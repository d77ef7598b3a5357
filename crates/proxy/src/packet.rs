//! Packets and what becomes of them: what the tracers of all modes have in common.

use std::net::{IpAddr, SocketAddr};

use service::objects::Protocol;
use thiserror::Error;

/// The first packet of a connection, as it reaches the node or begins there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Who sends. A packet from an address of the node itself is one that a process there sends.
    pub source: IpAddr,
    /// Where to, before any translation.
    pub destination: SocketAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The interface it comes in by, if that is known and it was not made here.
    pub interface: Option<String>,
}

/// One of the ways a packet may go where chance decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    /// How likely, above 0 and at most 1. The branches of a packet add up to 1.
    pub probability: f64,
    /// Where it ends.
    pub fate: Fate,
    /// The rules it met, in order, each with what it did, in words.
    pub steps: Vec<String>,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fate {
    /// It goes to an endpoint.
    Endpoint {
        /// Where to.
        address: SocketAddr,
        /// Whether the endpoint sees the node's address in place of the sender's.
        masquerade: bool,
    },
    /// The sender is told at once that nobody is there.
    Reject,
    /// It vanishes.
    Drop,
    /// No rule of the proxy's concerns it.
    Pass,
}

/// Walks packets through compiled rules.
pub trait Tracer {
    /// All ways the packet may go. They add up to 1.
    ///
    /// # Errors
    /// [`Untraceable`] names the rule that the tracer does not understand.
    fn trace(&self, packet: &Packet) -> Result<Vec<Branch>, Untraceable>;
}

/// A rule that the tracer cannot follow. It never guesses.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the packet meets a rule that cannot be followed: {rule}: {why}")]
pub struct Untraceable {
    /// The rule as it prints.
    pub rule: String,
    /// What is not understood.
    pub why: String,
}
