//! The Service proxy: watch, model, ruleset value, diff, kernel.
//!
//! The way of a change: events fill a [`service::Cluster`]; [`compile`] turns the touched Services into what
//! they want of the kernel; [`Ruleset`] takes it in and knows the difference to what was loaded last; the
//! [`Kernel`] sends that difference as one atomic transaction. Only the kernel part needs root, and only
//! [`run`] knows of an API server.
//!
//! The layout in the kernel is described in [`layout`].

pub mod layout;

mod compile;
mod config;
mod conntrack;
mod dry_run;
mod error;
mod kernel;
mod ruleset;
mod run;

pub use compile::compile;
pub use config::{Config, NodePortAddresses};
pub use dry_run::dry_run;
pub use error::Error;
pub use kernel::{Kernel, Report, cleanup};
pub use ruleset::{Change, Fragment, Front, FrontValue, Plan, Range, Ruleset, Way};
pub use run::run;
