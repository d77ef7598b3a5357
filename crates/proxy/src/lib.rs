//! The Service proxy: watch, model, ruleset value, diff, kernel.
//!
//! The way of a change: events fill a [`service::Cluster`]; each mode compiles a [`Sight`] of it into a ruleset
//! value, finds the difference to what was loaded last, and sends that to the kernel. Only the last step needs
//! root, and only [`run`] knows of an API server. A [`Tracer`] walks packets through the ruleset value of a mode.

pub mod configuration;
pub mod explain;
pub mod iptables;
pub mod ipvs;
pub mod nftables;
pub mod userspace;
pub mod xtables;

mod config;
mod conntrack;
mod error;
mod health;
mod limits;
mod live;
mod local_dns;
mod localhost;
mod metrics;
mod mode;
mod modes;
mod packet;
mod run;
mod sight;
mod still;
mod watcher;

pub use config::{Config, DetectLocal, IpvsConfig, ModeName, NodePortAddresses};
pub use error::Error;
pub use limits::Limits;
pub use live::{Live, Sighting};
pub use local_dns::keep as keep_dns_local;
pub use localhost::Localhost;
pub use mode::{Count, Counted, Counter, Mode, Report, RuleCount, Touched};
pub use modes::{Compiled, cleanup_all, cleanup_others, compile, held_and_wanted, start};
pub use nftables::cleanup;
pub use packet::{Branch, Fate, Packet, Tracer, Untraceable};
pub use run::{Revision, interface_addresses, run, run_revised};
pub use sight::{Interface, LocalPods, NodeFacts, NodePortIps, Sight};
pub use still::Still;
