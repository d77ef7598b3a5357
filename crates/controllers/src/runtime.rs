//! What every controller is made of: caches that follow watches, queues of keys, and events.

pub(crate) mod cache;
pub(crate) mod context;
pub(crate) mod queue;
