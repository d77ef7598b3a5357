//! What the rules would do to a packet: the first packet of a connection, walked through the tables as the
//! kernel walks it (`net/netfilter/nf_tables_core.c`, `nf_nat_core.c`).
//!
//! ```text
//! from outside   prerouting ─▶ destination of this machine?  ─▶ input
//!                                                    else    ─▶ forward ─▶ postrouting
//! from here      output ─▶ postrouting ─▶ to this machine?   ─▶ prerouting ─▶ input   (filter chains only)
//! ```
//!
//! Where chance decides, the walk splits into branches, each with its probability. The mark begins as zero,
//! dynamic sets hold what the ruleset says, and what one packet adds to them the same packet does not find.

mod machine;
mod sets;
#[cfg(test)]
mod tests;
mod walk;

use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

use crate::chain::{BaseChain, Hook};
use crate::expr::Reject;
use crate::rule::Rule;
use crate::ruleset::{HeldChain, Ruleset};
use crate::table::Table;
use crate::verdict::Verdict;
use sets::Sets;
use walk::Walk;

/// The first packet of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Source address. A packet from an address of the host is made on the host.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// Transport protocol number.
    pub protocol: u8,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub port: u16,
    /// Interface it comes by, if it comes from outside and that matters.
    pub interface: Option<String>,
}

/// The machine that has the rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// Its addresses. Loopback addresses are always local.
    pub addresses: Vec<IpAddr>,
}

impl Host {
    /// Whether an address is one of this machine.
    pub fn is_local(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.addresses.contains(&address)
    }
}

/// One way a packet may go.
#[derive(Debug, Clone)]
pub struct Branch<'a> {
    /// How likely it is, above 0 and at most 1. Those of all branches add up to 1.
    pub probability: f64,
    /// How it ends.
    pub fate: Fate,
    /// What happened on the way, in order. Rules that did nothing are not among them.
    pub steps: Vec<Step<'a>>,
}

/// How a packet's way through the tables ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is gone, and nobody is told.
    Dropped,
    /// It is gone, and its sender is told.
    Rejected(Reject),
    /// It goes on.
    Passed {
        /// Where to, after translation.
        destination: SocketAddr,
        /// Whether the destination was translated.
        translated: bool,
        /// Whether its source becomes an address of this machine.
        masqueraded: bool,
        /// Whether it was redirected to this machine. From outside it goes to an address of the interface it
        /// came by; `destination` names the machine's first.
        redirected: bool,
    },
}

/// Something that happened to the packet.
#[derive(Debug, Clone)]
pub struct Step<'a> {
    ruleset: &'a Ruleset,
    /// The chain.
    pub chain: &'a str,
    /// The rule; `None` for the policy of a base chain.
    pub rule: Option<&'a Rule>,
    /// What it did.
    pub action: Action<'a>,
}

impl<'a> Step<'a> {
    /// The table.
    pub fn table(&self) -> Option<&'a Table> {
        self.ruleset.table()
    }

    /// The rule as `nft list` prints it; empty for a policy.
    pub fn text(&self) -> String {
        self.rule.map(|rule| self.ruleset.rule_text(rule)).unwrap_or_default()
    }
}

/// What a rule did to a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<'a> {
    /// Decided where to go on, or that it is the end.
    Verdict(&'a Verdict),
    /// No rule of a base chain decided, and its policy is to drop.
    PolicyDrop,
    /// Drew a number, or hashed one.
    Chose {
        /// The number, from the smallest possible on.
        number: u32,
        /// Count of numbers that were possible.
        among: u32,
    },
    /// Set the packet's mark.
    Marked(u32),
    /// Remembered something in a dynamic set.
    Remembered(&'a str),
    /// Translated the destination.
    Translated(SocketAddr),
    /// Redirected to this machine.
    Redirected(SocketAddr),
    /// Gave the packet an address of this machine as its source.
    Masqueraded,
    /// Dropped it and told the sender.
    Rejected(Reject),
}

/// The walk met something whose outcome it cannot tell.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "cannot tell what expression `{expression}` does in chain {chain} of table {table}, in the rule: {rule}"
)]
pub struct Unsupported {
    /// Family and name of the table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// The rule as printed.
    pub rule: String,
    /// The kernel's name of the expression, or what it cannot do.
    pub expression: String,
}

/// A base chain and the table it is in.
#[derive(Debug, Clone, Copy)]
struct Base<'a> {
    table: usize,
    chain: &'a HeldChain,
    base: BaseChain,
}

/// Rulesets made ready for many packets.
#[derive(Debug)]
pub struct Simulator<'a> {
    tables: Vec<&'a Ruleset>,
    sets: Vec<Sets<'a>>,
    /// All base chains in the order of their priority.
    bases: Vec<Base<'a>>,
}

impl<'a> Simulator<'a> {
    /// The tables that a packet meets.
    pub fn new(tables: impl IntoIterator<Item = &'a Ruleset>) -> Self {
        let tables: Vec<_> = tables.into_iter().filter(|ruleset| ruleset.table().is_some()).collect();
        let mut bases = Vec::new();
        for (table, ruleset) in tables.iter().enumerate() {
            let base = |chain: &'a HeldChain| Some(Base { table, chain, base: chain.chain.base? });
            bases.extend(ruleset.chains().filter_map(base));
        }
        bases.sort_by_key(|base| base.base.priority);
        Self { sets: tables.iter().map(|ruleset| Sets::new(ruleset)).collect(), tables, bases }
    }

    /// All ways the packet may go.
    ///
    /// # Errors
    /// [`Unsupported`] names the first expression met whose outcome is not known.
    pub fn walk(&self, packet: &Packet, host: &Host) -> Result<Vec<Branch<'a>>, Unsupported> {
        let mut branches = Vec::new();
        let mut pending = vec![Walk::new(packet.clone())];
        while let Some(walk) = pending.pop() {
            branches.push(self.follow(walk, host, &mut pending)?);
        }
        Ok(branches)
    }

    fn bases_of(&self, hook: Hook) -> impl Iterator<Item = &Base<'a>> {
        self.bases.iter().filter(move |base| base.base.hook == hook)
    }
}

/// Each fate with the probability of all branches that end so, in the order of their first branch.
pub fn fates(branches: &[Branch<'_>]) -> Vec<(Fate, f64)> {
    let mut places = std::collections::HashMap::new();
    let mut fates: Vec<(Fate, f64)> = Vec::new();
    for branch in branches {
        let place = *places.entry(branch.fate).or_insert_with(|| {
            fates.push((branch.fate, 0.0));
            fates.len() - 1
        });
        fates[place].1 += branch.probability;
    }
    fates
}
