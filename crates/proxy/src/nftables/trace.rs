//! Packets walked through rules of nf_tables: ours or kube-proxy's layout, as compiled or as a kernel holds them.

use std::collections::HashMap;
use std::net::IpAddr;

use nfnetlink::simulate::{Action, Fate as Ending, Host, Packet as Sent, Simulator, Step};
use nfnetlink::{Ruleset, Verdict};

use crate::packet::{Branch, Fate, Packet, Tracer, Untraceable};
use crate::sight::NodeFacts;

/// The source port of packets: no rule looks at it.
const SOURCE_PORT: u16 = 40_000;

/// Rulesets made ready for many packets.
#[derive(Debug)]
pub struct Walker<'a> {
    simulator: Simulator<'a>,
    host: Host,
}

impl<'a> Walker<'a> {
    /// The rules of a node.
    pub fn new(rulesets: impl IntoIterator<Item = &'a Ruleset>, node: &NodeFacts) -> Self {
        let addresses: Vec<IpAddr> =
            node.addresses.iter().chain(&node.interface_addresses).copied().collect();
        Self { simulator: Simulator::new(rulesets), host: Host { addresses } }
    }
}

impl Tracer for Walker<'_> {
    fn trace(&self, packet: &Packet) -> Result<Vec<Branch>, Untraceable> {
        let sent = Sent {
            source: packet.source,
            destination: packet.destination.ip(),
            protocol: packet.protocol.number(),
            source_port: SOURCE_PORT,
            port: packet.destination.port(),
            interface: packet.interface.clone(),
        };
        let walked = self.simulator.walk(&sent, &self.host).map_err(|unsupported| Untraceable {
            rule: format!(
                "{} (chain {} of table {})",
                unsupported.rule, unsupported.chain, unsupported.table
            ),
            why: unsupported.expression,
        })?;
        // Slots that lead to the same endpoint are one way; its steps are those of the first.
        let mut places: HashMap<Fate, usize> = HashMap::new();
        let mut branches: Vec<Branch> = Vec::new();
        for walk in walked {
            let fate = fate(walk.fate);
            match places.get(&fate) {
                Some(place) => branches[*place].probability += walk.probability,
                None => {
                    places.insert(fate, branches.len());
                    let steps = walk.steps.iter().map(words).collect();
                    branches.push(Branch { probability: walk.probability, fate, steps });
                }
            }
        }
        Ok(branches)
    }
}

fn fate(ending: Ending) -> Fate {
    match ending {
        Ending::Dropped => Fate::Drop,
        Ending::Rejected(_) => Fate::Reject,
        Ending::Passed { destination, translated: true, masqueraded: masquerade, .. } => {
            Fate::Endpoint { address: destination, masquerade }
        }
        Ending::Passed { translated: false, .. } => Fate::Pass,
    }
}

/// What a rule did, its chain, and its text as `nft` has it.
fn words(step: &Step<'_>) -> String {
    let what = match &step.action {
        Action::Verdict(Verdict::Drop) => "drops the packet".to_owned(),
        Action::Verdict(Verdict::Accept) => "lets the packet on".to_owned(),
        Action::Verdict(Verdict::Return) => "goes back".to_owned(),
        Action::Verdict(Verdict::Jump(chain) | Verdict::Goto(chain)) => format!("goes on in chain {chain}"),
        Action::PolicyDrop => "drops what no rule decided".to_owned(),
        Action::Chose { number, among } => format!("takes slot {number}, one of {among}"),
        Action::Marked(0) => "takes the mark off the packet".to_owned(),
        Action::Marked(_) => "marks the packet to be masqueraded".to_owned(),
        Action::Remembered(_) => "remembers the client for session affinity".to_owned(),
        Action::Translated(endpoint) => format!("sends the packet to endpoint {endpoint}"),
        Action::Redirected(address) => format!("sends the packet to this node at {address}"),
        Action::Masqueraded => "puts the node's address in place of the client's".to_owned(),
        Action::Rejected(_) => "tells the client that nobody is there".to_owned(),
    };
    match step.text() {
        rule if rule.is_empty() => format!("{} {what}", step.chain),
        rule => format!("{} {what}: {rule}", step.chain),
    }
}

#[cfg(test)]
mod tests;
