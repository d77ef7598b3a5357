//! Walks packets through tables: ours as compiled, or a dump of what any proxy loaded.

mod chain;
mod hooks;
mod matching;
mod rule;
mod sets;
mod virtual_servers;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use sets::{Direction, Lookup, Sets};
pub use virtual_servers::VirtualServers;

use self::chain::Table;
use crate::packet::{Branch, Fate, Packet, Tracer, Untraceable};
use crate::sight::NodeFacts;
use crate::xtables::text::Tables;

/// Tables of one family, ready to be walked.
pub struct Walker {
    tables: Vec<Table>,
    node: NodeFacts,
    sets: Arc<Sets>,
    virtual_servers: Arc<VirtualServers>,
}

/// One of the ways a packet may take, and how it looks at the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    /// How likely, above 0 and at most 1.
    pub probability: f64,
    /// What the rules say at last.
    pub verdict: Verdict,
    /// Where it came from.
    pub source: IpAddr,
    /// Where it was sent to.
    pub original: SocketAddr,
    /// Where it goes now.
    pub destination: SocketAddr,
    /// Whether a rule gave it another destination.
    pub translated: bool,
    /// Whether it gets the node's address as its source.
    pub masquerade: bool,
    /// Its mark.
    pub mark: u32,
    /// The rules it met, in order, each with what it did, in words.
    pub steps: Vec<String>,
}

/// What rules say about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Accept,
    /// It vanishes.
    Drop,
    /// It is refused with an error.
    Reject,
}

impl Walker {
    /// Reads the rules once. A rule that cannot be followed is no error before a packet meets it.
    pub fn new(tables: &Tables, node: &NodeFacts) -> Self {
        Self {
            tables: tables.iter().map(Table::new).collect(),
            node: node.clone(),
            sets: Arc::new(|_| None),
            virtual_servers: Arc::new(|_, _| None),
        }
    }

    /// With somebody who knows what is in ipsets.
    #[must_use]
    pub fn with_sets(self, sets: Arc<Sets>) -> Self {
        Self { sets, ..self }
    }

    /// With virtual servers beside the tables.
    #[must_use]
    pub fn with_virtual_servers(self, virtual_servers: Arc<VirtualServers>) -> Self {
        Self { virtual_servers, ..self }
    }

    /// All ways the packet may take through the tables. They add up to 1.
    ///
    /// # Errors
    /// [`Untraceable`] names the rule that cannot be followed.
    pub fn walk(&self, packet: &Packet) -> Result<Vec<Way>, Untraceable> {
        hooks::walk(self, packet)
    }
}

impl Way {
    fn fate(&self) -> Fate {
        match self.verdict {
            Verdict::Drop => Fate::Drop,
            Verdict::Reject => Fate::Reject,
            Verdict::Accept if self.translated => {
                Fate::Endpoint { address: self.destination, masquerade: self.masquerade }
            }
            Verdict::Accept => Fate::Pass,
        }
    }
}

impl Tracer for Walker {
    fn trace(&self, packet: &Packet) -> Result<Vec<Branch>, Untraceable> {
        let ways = self.walk(packet)?;
        let branch = |way: Way| Branch { probability: way.probability, fate: way.fate(), steps: way.steps };
        Ok(ways.into_iter().map(branch).collect())
    }
}

impl std::fmt::Debug for Walker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walker")
            .field("tables", &self.tables)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
