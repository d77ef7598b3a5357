//! The current plan of a listener, which a reload exchanges.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::Plan;

/// A plan that can be exchanged while queries are answered by it.
#[derive(Debug)]
pub(crate) struct SharedPlan {
    plan: RwLock<Arc<Plan>>,
    generation: AtomicU64,
}

impl SharedPlan {
    /// Starts with a plan.
    pub(crate) fn new(plan: Arc<Plan>) -> Self {
        Self { plan: RwLock::new(plan), generation: AtomicU64::new(0) }
    }

    /// Exchanges the plan. Queries that come from now on are answered by the new one.
    pub(crate) fn exchange(&self, plan: Arc<Plan>) {
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = plan;
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The current plan.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        self.plan.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of the current plan, which grows with each exchange.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}
