//! iptables mode: kube-proxy's chains and rules, exact to the character.
//!
//! Tools read these chains, so names, hashes, comments and order are kube-proxy 1.36's. [`compile`] turns a
//! [`Sight`](crate::Sight) into [`Rules`], which keep what each Service adds and print as `iptables-restore`
//! reads it; [`text`] is that format as a value; [`trace`] walks packets through it; [`Iptables`] keeps the
//! kernel of one network namespace in step.

pub mod text;
pub mod trace;

pub(crate) mod apply;
pub(crate) mod compile;
mod difference;
pub(crate) mod lines;
mod name;
pub(crate) mod ours;
mod rules;
#[cfg(test)]
pub(crate) mod scene;
pub(crate) mod script;

pub use apply::{Failure, Iptables, Place, cleanup, held};
pub(crate) use apply::{Programs, Variant, programs_in_use, same};
pub use compile::{Platform, compile};
pub(crate) use compile::{Settings, is_writable, span};
pub use difference::Difference;
pub(crate) use lines::Lines;
pub use name::{chain_name, endpoint_chain_name, hashed_name, port_name};
pub use rules::{Change, Rules};
pub(crate) use script::Script;
