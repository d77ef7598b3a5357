//! Pods on this machine: one worker for each, which brings what the runtime has in line with the Pod object.
//!
//! The worker's decisions are pure functions: [`plan`] says what to do next, [`status`] what to report. The
//! worker itself only observes and acts.

mod backoff;
mod container;
mod context;
mod dns;
mod downward;
mod env;
mod fields;
mod files;
mod hosts;
mod image;
mod links;
mod manager;
mod names;
mod observed;
mod plan;
mod probe;
mod quantity;
mod registry;
mod rotate;
mod sandbox;
mod security;
mod sources;
mod status;
mod stop;
mod supervise;
mod termination;
mod tokens;
mod volumes;
mod worker;
mod writer;

use crate::disk;

pub(crate) use context::{Context, News};
pub(crate) use dns::parse as parse_resolv_conf;
pub(crate) use manager::manage;
pub(crate) use names::log_file;
pub(crate) use registry::{Entry, Registry};
pub(crate) use rotate::rotate_logs;
#[cfg(feature = "fuzz")]
pub(crate) use volumes::inside_volume;
