//! Cluster DNS: watch, names, packets.
//!
//! The way of a change: events fill a `Names` (the shared model of Services and EndpointSlices, and the
//! namespaces); what they touch is compiled into records, one value per Service; the `Zone` swaps that value in.
//! The way of a query: a packet is decoded, its name is read against the grammar of the zone, and the reply is
//! written from the records, all without waiting and without a copy of the data. Only names that are not the
//! cluster's, and the targets of ExternalName Services, wait for an upstream resolver.
//!
//! Names follow the DNS-based service discovery specification of Kubernetes, schema 1.1.0, and the `kubernetes`
//! plugin of CoreDNS where the specification is silent. Everything but the sockets is pure.

mod answer;
mod config;
mod error;
mod forward;
mod names;
mod namespace;
mod run;
mod server;
mod wire;
mod zone;

pub use config::Config;
pub use error::Error;
pub use names::Input;
pub use namespace::Namespace;
pub use run::{run, serve};
