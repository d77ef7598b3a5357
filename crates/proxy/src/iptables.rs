//! iptables mode: kube-proxy's chains and rules, exact to the character.
//!
//! Tools read these chains, so names, hashes, comments and order are kube-proxy 1.36's. [`compile`] turns a
//! [`Sight`](crate::Sight) into [`Rules`], which keep what each Service adds and print as `iptables-restore`
//! reads it; [`Iptables`] keeps the kernel of one network namespace in step. What it shares with ipvs and userspace mode
//! is in [`xtables`](crate::xtables).

pub(crate) mod apply;
pub(crate) mod compile;
mod difference;
mod name;
pub(crate) mod ours;
mod rules;
#[cfg(test)]
pub(crate) mod scene;

pub use apply::{Iptables, cleanup, held};
pub use difference::Difference;
pub use name::{chain_name, endpoint_chain_name, hashed_name};
pub use rules::{Change, Rules, compile};
