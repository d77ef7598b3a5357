//! The plan of a port, exchanged while sockets answer from it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::Plan;

/// A plan that can be exchanged while sockets answer from it.
#[derive(Debug)]
pub(crate) struct SharedPlan {
    plan: RwLock<Arc<Plan>>,
    generation: AtomicU64,
}

impl SharedPlan {
    /// Begins with a plan.
    pub(crate) fn new(plan: Arc<Plan>) -> Self {
        Self { plan: RwLock::new(plan), generation: AtomicU64::new(0) }
    }

    /// Has queries that come from now on answered by another plan.
    pub(crate) fn exchange(&self, plan: Arc<Plan>) {
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = plan;
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The plan of now.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        self.plan.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Which plan it is; grows with each exchange.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}
