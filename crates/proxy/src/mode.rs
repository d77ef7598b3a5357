//! What every mode of the proxy can do.

use std::collections::BTreeSet;
use std::time::Duration;

use service::{Changed, ServiceName};

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
}
