//! A packet on its way, and whether it meets the conditions of a rule.

use std::net::{IpAddr, SocketAddr};

use service::Family;
use service::objects::Protocol;

use super::rule::{Condition, State, What};
use super::sets::Lookup;
use super::{Verdict, Walker, Way};
use crate::packet::Packet;
use crate::sight::NodeFacts;

/// A packet on one of its ways.
#[derive(Debug, Clone)]
pub(super) struct TracedPacket {
    pub(super) destination: SocketAddr,
    pub(super) mark: u32,
    pub(super) masquerade: bool,
    /// Whether a process of the node sends it.
    pub(super) made_here: bool,
    original: SocketAddr,
    translated: bool,
    source: IpAddr,
    pub(super) protocol: Protocol,
    interface: Interface,
    probability: f64,
    steps: Vec<String>,
}

/// By which interface a packet comes in.
#[derive(Debug, Clone)]
enum Interface {
    /// None: it is made here, or it leaves.
    None,
    Named(String),
    Unknown,
}

/// Whether a packet meets conditions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Answer {
    No,
    Yes,
    /// This often.
    Sometimes(f64),
}

impl TracedPacket {
    pub(super) fn new(packet: &Packet, node: &NodeFacts) -> Self {
        let made_here = node.is_local(packet.source);
        let interface = match &packet.interface {
            _ if made_here => Interface::None,
            Some(name) => Interface::Named(name.clone()),
            None => Interface::Unknown,
        };
        Self {
            destination: packet.destination,
            mark: 0,
            masquerade: false,
            made_here,
            original: packet.destination,
            translated: false,
            source: packet.source,
            protocol: packet.protocol,
            interface,
            probability: 1.0,
            steps: Vec::new(),
        }
    }

    /// Notes what a rule did.
    pub(super) fn note(&mut self, table: &str, chain: &str, rule: &str, what: &str) {
        self.steps.push(format!("{table} {chain} {rule}: {what}"));
    }

    /// Two ways: one that is as likely as `chance` says, and the other.
    pub(super) fn split(self, chance: f64) -> (Self, Self) {
        let met = Self { probability: self.probability * chance, ..self.clone() };
        let passed = Self { probability: self.probability * (1.0 - chance), ..self };
        (met, passed)
    }

    pub(super) fn translate(&mut self, to: SocketAddr) {
        self.destination = to;
        self.translated = true;
    }

    /// It comes in once more by the loopback interface.
    pub(super) fn loop_back(&mut self) {
        self.interface = Interface::Named("lo".to_owned());
    }

    /// It goes out: from here on it has no interface that it came in by.
    pub(super) fn leave(&mut self) {
        self.interface = Interface::None;
    }

    /// The node's address that a packet is redirected to.
    pub(super) fn here(&self, node: &NodeFacts) -> Option<IpAddr> {
        let family = Family::of(self.destination.ip());
        match (self.made_here, family) {
            (true, Family::V4) => Some([127, 0, 0, 1].into()),
            (true, Family::V6) => Some([0, 0, 0, 0, 0, 0, 0, 1_u16].into()),
            (false, _) => node.primary(family),
        }
    }

    pub(super) fn end(self, verdict: Verdict) -> Way {
        Way {
            probability: self.probability,
            verdict,
            source: self.source,
            original: self.original,
            destination: self.destination,
            translated: self.translated,
            masquerade: self.masquerade,
            mark: self.mark,
            steps: self.steps,
        }
    }

    /// Whether it meets all conditions.
    ///
    /// # Errors
    /// Says what would have to be known.
    pub(super) fn meets(&self, conditions: &[Condition], walker: &Walker) -> Result<Answer, String> {
        let mut answer = Answer::Yes;
        let mut unknown = None;
        for Condition { not, what } in conditions {
            if let What::Chance(chance) = what {
                answer = Answer::Sometimes(if *not { 1.0 - chance } else { *chance });
                continue;
            }
            match self.is(what, walker) {
                Ok(is) if is == *not => return Ok(Answer::No),
                Ok(_) => {}
                Err(why) => unknown = Some(why),
            }
        }
        // What is not known does not matter where something else rules the packet out.
        unknown.map_or(Ok(answer), Err)
    }

    fn is(&self, what: &What, walker: &Walker) -> Result<bool, String> {
        Ok(match what {
            What::Source(range) => range.contains(self.source),
            What::SourceRange(range) => range.contains(&self.source),
            What::Destination(range) => range.contains(self.destination.ip()),
            What::OriginalDestination(range) => range.contains(self.original.ip()),
            What::DestinationPort(ports) => ports.contains(&self.destination.port()),
            What::OriginalPort(port) => self.original.port() == *port,
            What::Protocol(protocol) => {
                protocol == "all" || *protocol == self.protocol.to_string() || *protocol == self.number()
            }
            What::SourceLocal => walker.node.is_local(self.source),
            What::DestinationLocal => walker.node.is_local(self.destination.ip()),
            What::States(states) => states.iter().any(|state| match state {
                State::New => true,
                State::Translated => self.translated,
                State::Masqueraded => self.masquerade,
                State::Later => false,
            }),
            What::Mark { mark, mask } => self.mark & mask == *mark,
            What::In(pattern) => match &self.interface {
                Interface::None => false,
                Interface::Named(name) => pattern.matches(name),
                Interface::Unknown => {
                    return Err("it is not known by which interface the packet comes in".to_owned());
                }
            },
            What::Set { name, directions } => {
                let lookup = Lookup {
                    set: name,
                    directions,
                    source: self.source,
                    destination: self.destination,
                    protocol: self.protocol,
                };
                (walker.sets)(&lookup).ok_or_else(|| format!("it is not known what is in the set {name}"))?
            }
            What::Unknown(why) => return Err(why.clone()),
            // A client's first packet finds no trace of an earlier one; bridges hand packets for the node to the
            // node itself; chance is answered by whoever asks.
            What::Seen | What::Bridged | What::Chance(_) => false,
        })
    }

    fn number(&self) -> String {
        self.protocol.number().to_string()
    }
}
