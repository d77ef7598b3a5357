//! The Service model: who serves this port, seen from this node, and why. Pure: no I/O, no async, no clock.
//!
//! [`objects`] holds what a Service system must know of Kubernetes objects and nothing more. [`Cluster`] keeps
//! them and says which Services an event touches. [`Cluster::ports`] answers the one question of the house:
//! for each port of a Service, the [`Choice`] of endpoints for every kind of client, with the rule that made
//! it. The proxy compiles this answer, DNS resolves from the same objects; nobody computes it twice.
//!
//! With the feature `watch` the module `watch` fills a [`Cluster`] from an API server; with the feature `manifest`
//! the module `manifest` does so from text.

#[cfg(feature = "manifest")]
pub mod manifest;
pub mod objects;
#[cfg(feature = "watch")]
pub mod watch;

mod choice;
mod cidr;
mod cluster;
mod endpoint;
mod event;
mod family;
mod interner;
mod name;
mod port;
mod quantity;
#[cfg(feature = "watch")]
mod sys;

pub use choice::{Answer, Choice, Client, Entrance, List, Outcome, Rule, Viewpoint};
pub use cidr::{Cidr, InvalidCidr};
pub use cluster::{Changed, Cluster};
pub use endpoint::Endpoint;
pub use event::Event;
pub use family::Family;
pub use name::ServiceName;
pub use port::PortView;
pub use quantity::quantity;
#[cfg(feature = "watch")]
pub use sys::give_back_memory;
