//! Controllers that keep pods running.

pub(crate) mod deployment;
pub(crate) mod replicas;
mod rollout;
mod selector;
