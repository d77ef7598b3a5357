//! Chains of a table, and how packets go through them.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::matching::{Answer, TracedPacket};
use super::rule::{Parsed, Target, What};
use super::{Verdict, Walker};
use crate::packet::Untraceable;
use crate::xtables::text;

/// How deep chains may lead into each other; loops are refused by the kernel.
const DEPTH: usize = 16;

/// A table whose rules were read.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    chains: Vec<Chain>,
    index: HashMap<String, usize>,
}

/// A chain, with its rules found by where a packet goes.
#[derive(Debug)]
struct Chain {
    name: String,
    policy: Option<String>,
    rules: Vec<Rule>,
    /// Rules for one address alone.
    by_address: HashMap<std::net::IpAddr, Vec<usize>>,
    /// Rules for any address and one port alone.
    by_port: HashMap<u16, Vec<usize>>,
    /// All others.
    others: Vec<usize>,
}

#[derive(Debug)]
struct Rule {
    text: text::Rule,
    parsed: Parsed,
}

/// Where packets are after a chain.
#[derive(Debug, Default)]
pub(super) struct Passage {
    /// Those that came to its end.
    pub(super) through: Vec<TracedPacket>,
    /// Those that a rule decided about.
    pub(super) decided: Vec<(TracedPacket, Verdict)>,
}

impl Table {
    pub(super) fn new(table: &text::Table) -> Self {
        let chains: Vec<_> = table.chains().iter().map(Chain::new).collect();
        let index = chains.iter().enumerate().map(|(place, chain)| (chain.name.clone(), place)).collect();
        Self { name: table.name.clone(), chains, index }
    }

    /// What a built-in chain makes of a packet; packets that it decides about are not refused by its policy.
    pub(super) fn hook(
        &self,
        walker: &Walker,
        chain: &str,
        packet: TracedPacket,
    ) -> Result<Vec<(TracedPacket, Verdict)>, Untraceable> {
        let Some(chain) = self.index.get(chain).map(|place| &self.chains[*place]) else {
            return Ok(vec![(packet, Verdict::Accept)]);
        };
        let passage = self.pass(walker, chain, packet, DEPTH)?;
        let policy = match chain.policy.as_deref() {
            Some("DROP") => Verdict::Drop,
            _ => Verdict::Accept,
        };
        let mut ends = passage.decided;
        ends.extend(passage.through.into_iter().map(|mut packet| {
            if policy == Verdict::Drop {
                packet.note(&self.name, &chain.name, "policy DROP", "it is dropped");
            }
            (packet, policy)
        }));
        Ok(ends)
    }

    fn pass(
        &self,
        walker: &Walker,
        chain: &Chain,
        packet: TracedPacket,
        depth: usize,
    ) -> Result<Passage, Untraceable> {
        let mut passage = Passage::default();
        let places = chain.candidates(packet.destination);
        let mut here = vec![packet];
        for place in places {
            let rule = &chain.rules[place];
            let mut after = Vec::new();
            for packet in here {
                let untraceable =
                    |why: String| Untraceable { rule: format!("-A {} {}", chain.name, rule.text), why };
                let met = match packet.meets(&rule.parsed.conditions, walker).map_err(untraceable)? {
                    Answer::No => {
                        after.push(packet);
                        continue;
                    }
                    Answer::Yes => packet,
                    Answer::Sometimes(chance) => {
                        let (met, passed) = packet.split(chance);
                        after.push(passed);
                        met
                    }
                };
                let reached = self.reach(walker, chain, rule, met, depth).map_err(|end| match end {
                    Stop::Unknown(why) => untraceable(why),
                    Stop::Below(error) => error,
                })?;
                after.extend(reached.stays);
                passage.through.extend(reached.leaves);
                passage.decided.extend(reached.decided);
            }
            here = after;
            if here.is_empty() {
                break;
            }
        }
        passage.through.extend(here);
        Ok(passage)
    }

    /// What a rule does with a packet that meets its conditions.
    fn reach(
        &self,
        walker: &Walker,
        chain: &Chain,
        rule: &Rule,
        mut packet: TracedPacket,
        depth: usize,
    ) -> Result<Reached, Stop> {
        let note = |packet: &mut TracedPacket, what: &str| {
            packet.note(&self.name, &chain.name, rule.text.as_str(), what);
        };
        let target = &rule.parsed.target;
        Ok(match target {
            Target::Unknown(why) => return Err(Stop::Unknown(why.clone())),
            Target::Nothing => {
                note(&mut packet, "it is counted");
                Reached::stays(packet)
            }
            Target::Accept => {
                note(&mut packet, "it is accepted");
                Reached::decided(packet, Verdict::Accept)
            }
            Target::Drop => {
                note(&mut packet, "it is dropped");
                Reached::decided(packet, Verdict::Drop)
            }
            Target::Reject => {
                note(&mut packet, "it is refused");
                Reached::decided(packet, Verdict::Reject)
            }
            Target::Return => {
                note(&mut packet, "it leaves the chain");
                Reached { leaves: vec![packet], ..Reached::default() }
            }
            Target::Mark { keep, change } => {
                packet.mark = packet.mark & keep ^ change;
                let mark = format!("its mark is {:#x} now", packet.mark);
                note(&mut packet, &mark);
                Reached::stays(packet)
            }
            Target::Masquerade => {
                packet.masquerade = true;
                note(&mut packet, "it gets the node's address as its source");
                Reached::decided(packet, Verdict::Accept)
            }
            Target::Translate(to) => {
                packet.translate(*to);
                note(&mut packet, &format!("it goes to {to}"));
                Reached::decided(packet, Verdict::Accept)
            }
            Target::Redirect(port) => {
                let address = packet.here(&walker.node).ok_or_else(|| {
                    Stop::Unknown("the node has no known address to redirect to".to_owned())
                })?;
                let to = SocketAddr::new(address, port.unwrap_or(packet.destination.port()));
                packet.translate(to);
                note(&mut packet, &format!("it goes to {to}, on this node"));
                Reached::decided(packet, Verdict::Accept)
            }
            Target::Jump(to) | Target::Goto(to) => {
                let place = self.index.get(to);
                let place = place.ok_or_else(|| Stop::Unknown(format!("{to} is not understood")))?;
                let depth = depth
                    .checked_sub(1)
                    .ok_or_else(|| Stop::Unknown("chains lead into each other too deep".to_owned()))?;
                note(&mut packet, &format!("it goes on in {to}"));
                let passage = self.pass(walker, &self.chains[*place], packet, depth).map_err(Stop::Below)?;
                match target {
                    Target::Goto(_) => {
                        Reached { leaves: passage.through, decided: passage.decided, ..Reached::default() }
                    }
                    _ => Reached { stays: passage.through, decided: passage.decided, ..Reached::default() },
                }
            }
        })
    }
}

/// Where a packet is after a rule that it met.
#[derive(Default)]
struct Reached {
    /// Before the next rule.
    stays: Vec<TracedPacket>,
    /// At the end of the chain.
    leaves: Vec<TracedPacket>,
    decided: Vec<(TracedPacket, Verdict)>,
}

impl Reached {
    fn stays(packet: TracedPacket) -> Self {
        Self { stays: vec![packet], ..Self::default() }
    }

    fn decided(packet: TracedPacket, verdict: Verdict) -> Self {
        Self { decided: vec![(packet, verdict)], ..Self::default() }
    }
}

/// Why a packet cannot be followed: by this rule, or by one in a chain it leads to.
enum Stop {
    Unknown(String),
    Below(Untraceable),
}

impl Chain {
    fn new(chain: &text::Chain) -> Self {
        let read = |rule: &text::Rule| {
            let parsed = match rule.options() {
                Ok(options) => Parsed::read(&options),
                Err(error) => Parsed { conditions: Vec::new(), target: Target::Unknown(error.to_string()) },
            };
            Rule { text: rule.clone(), parsed }
        };
        let rules: Vec<_> = chain.rules.iter().map(read).collect();
        let (mut by_address, mut by_port, mut others) = (HashMap::new(), HashMap::new(), Vec::new());
        for (place, rule) in rules.iter().enumerate() {
            let certain = || rule.parsed.conditions.iter().filter(|condition| !condition.not);
            let address = certain().find_map(|condition| match &condition.what {
                What::Destination(range) if range.size() == 1 => Some(range.address()),
                _ => None,
            });
            let port = certain().find_map(|condition| match &condition.what {
                What::DestinationPort(ports) if ports.start() == ports.end() => Some(*ports.start()),
                _ => None,
            });
            match (address, port) {
                (Some(address), _) => by_address.entry(address).or_insert_with(Vec::new).push(place),
                (None, Some(port)) => by_port.entry(port).or_insert_with(Vec::new).push(place),
                (None, None) => others.push(place),
            }
        }
        Self { name: chain.name.clone(), policy: chain.policy.clone(), rules, by_address, by_port, others }
    }

    /// The places of rules that a packet to this destination may meet, in order.
    fn candidates(&self, destination: SocketAddr) -> Vec<usize> {
        let mut places = self.others.clone();
        places.extend(self.by_address.get(&destination.ip()).into_iter().flatten());
        places.extend(self.by_port.get(&destination.port()).into_iter().flatten());
        places.sort_unstable();
        places
    }
}
