//! The Service model: who serves this port, seen from this node, and why. Pure: no I/O, no async, no clock.
//!
//! [`objects`] holds what a Service system must know of Kubernetes objects and nothing more. [`Cluster`] keeps
//! them and says which Services an event touches. [`Cluster::ports`] answers the one question of the house:
//! for each port of a Service, the [`Choice`] of endpoints for every kind of client, with the rule that made
//! it. The proxy compiles this answer, DNS resolves from the same objects; nobody computes it twice.
//!
//! A [`Cluster`] is filled by [`Event`]s: crate `follow` makes them from the watches of an API server, with the feature
//! `manifest` the module `manifest` makes them from text.

pub mod duration;
#[cfg(feature = "manifest")]
pub mod manifest;
pub mod objects;

mod choice;
mod cidr;
mod cluster;
mod endpoint;
mod event;
mod family;
mod interner;
mod listing;
mod name;
mod port;
mod quantity;

pub use choice::{Answer, Choice, Client, Entrance, List, Outcome, Rule, Viewpoint};
pub use cidr::{Cidr, InvalidCidr};
pub use cluster::{Changed, Cluster};
pub use endpoint::Endpoint;
pub use event::Event;
pub use family::Family;
pub use listing::Listing;
pub use name::ServiceName;
pub use port::PortView;
pub use quantity::quantity;
