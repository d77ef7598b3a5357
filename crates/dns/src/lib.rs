//! Cluster DNS: watch, names, packets.
//!
//! The way of a change: events with the shared model's slim objects fill a `Names`; what they touch is compiled into
//! records, one value per Service; the `Table` swaps that value in while queries read it. The way of a query: a thread
//! takes whatever datagrams have come, finds the server block of each, reads its name against the grammar of the zone,
//! and writes the reply from the records, all without waiting, without a lock and without memory of its own. Only names
//! that are not the cluster's, the targets of ExternalName Services and what rules change become tasks and wait for
//! others.
//!
//! Names follow the DNS-based service discovery specification of Kubernetes, schema 1.1.0, and the `kubernetes`
//! plugin of CoreDNS where the specification is silent. What to do is told by a Corefile. Everything but the
//! sockets is pure.

mod answer;
mod autopath;
mod cache;
mod client;
mod config;
mod corefile;
mod error;
mod forward;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod hosts;
mod interfaces;
mod limits;
mod log;
mod metrics;
mod names;
mod plan;
mod rate;
mod recursion;
mod rewrite;
mod run;
mod server;
mod sys;
mod template;
mod transfer;
mod wire;
mod zone;

pub use config::Config;
pub use corefile::Fault;
pub use error::Error;
pub use names::Input;
pub use run::{Setup, Source, run};
pub use server::sockets::Sockets;
