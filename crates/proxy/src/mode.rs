//! What every mode of the proxy can do.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use service::{Changed, Family, ServiceName};

use crate::error::Error;
use crate::sight::Sight;

/// A way of bringing connections to endpoints, at work in one network namespace.
///
/// A mode owns what it put into the kernel and nothing else. It may be killed at any moment; the next one starts
/// from what the kernel holds.
pub trait Mode: Send {
    /// Makes the kernel hold what the sight asks for. The first call takes over what an earlier run left.
    ///
    /// # Errors
    /// Says what the kernel or a program refused. The next call tries again and assumes nothing.
    fn sync(&mut self, sight: &Sight<'_>, touched: &Touched<'_>) -> Result<Report, Error>;

    /// When [`Mode::tend`] wants to be called, counted from now; `None` when there is nothing to look after.
    fn next_tend(&self) -> Option<Duration> {
        None
    }

    /// Looks after what changes without an event: endpoints that drain, rules that somebody else removed.
    ///
    /// # Errors
    /// As [`Mode::sync`].
    fn tend(&mut self, _sight: &Sight<'_>) -> Result<(), Error> {
        Ok(())
    }

    /// Reads what the kernel counts for this mode, from any thread and without the mode; `None` where it counts
    /// nothing. It belongs to the network namespace of the thread that asks for it.
    fn counter(&self) -> Option<Counter> {
        None
    }

    /// Connections that were begun, where the kernel counts them, read by the mode itself.
    fn counts(&mut self) -> Vec<Count> {
        Vec::new()
    }

    /// How many rules of iptables this mode has, by family and table; none for a mode without.
    fn rule_counts(&self) -> Vec<RuleCount> {
        Vec::new()
    }

    /// Ends the mode while the process goes on with another one. What it put into the kernel stays; connections that
    /// pass through the process go on.
    fn retire(self: Box<Self>) {}

    /// Waits until somebody else changed what this mode put into the kernel. Modes that cannot be told wait for ever.
    fn disturbed(&mut self) -> BoxFuture<'_, ()> {
        futures::future::pending().boxed()
    }
}

/// What to look at again.
#[derive(Debug, Clone, Copy)]
pub enum Touched<'a> {
    /// All Services, and what is the same for all: the first time, after the node changed, and to repair.
    Everything,
    /// These Services; some of them may be gone.
    Services(&'a Changed),
}

impl Touched<'_> {
    /// The names of the Services to look at.
    pub fn names(&self, sight: &Sight<'_>) -> BTreeSet<ServiceName> {
        match self {
            Self::Everything => sight.cluster.names().cloned().collect(),
            Self::Services(changed) => (*changed).clone(),
        }
    }
}

/// What a sync did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Elements, rules or entries deleted and added.
    pub elements: usize,
    /// Whether all was written anew.
    pub full: bool,
    /// UDP connections to endpoints that are gone, forgotten.
    pub flows: usize,
    /// How long it took to look for those, if that was done.
    pub flows_took: Option<Duration>,
    /// Changes that did not fit what the kernel held, so that all was written anew.
    pub misfits: usize,
}

/// How many rules a table of iptables has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleCount {
    /// The family.
    pub family: Family,
    /// The table.
    pub table: &'static str,
    /// Rules of ours.
    pub total: usize,
    /// Rules that the last sync wrote.
    pub last: usize,
}

/// Reads what the kernel counts, each time anew.
pub type Counter = Box<dyn FnMut() -> Counted + Send>;

/// What the kernel counted for a mode.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counted {
    /// Connections that were begun.
    pub connections: Vec<Count>,
    /// Packets that rules of no single Service met, each by the name of its metric.
    pub packets: Vec<(&'static str, u64)>,
}

/// Connections begun at a Service port or to an endpoint, as the kernel counts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// `namespace/name:port`.
    pub service: std::sync::Arc<str>,
    /// The endpoint; `None` for the Service port as a whole.
    pub endpoint: Option<std::net::SocketAddr>,
    /// How many.
    pub connections: u64,
}
