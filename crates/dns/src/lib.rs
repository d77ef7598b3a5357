//! Cluster DNS: the names of Services and pods, and what else a Corefile asks for.
//!
//! # The way of a query
//!
//! ```text
//! server/udp.rs, tcp.rs, https.rs   a packet comes in by a socket
//!   plan.rs                         finds the server block whose zone the name is in
//!     plan/chain.rs                 hands the query from one plugin to the next (table below)
//!       plugin/kubernetes/          zone/find.rs reads the name, answer/ writes the records
//!       plugin/cache/, forward/     recursion.rs: cache.rs has the reply, or forward.rs asks upstream resolvers
//! ```
//!
//! `wire/` reads and writes the messages, `client.rs` says who asks. A thread takes whatever datagrams have come, and
//! answers known names on the spot: without waiting, without a lock and without allocating memory. What depends on
//! other servers or on other questions becomes a task: names that are forwarded, the targets of ExternalName Services,
//! and what `rewrite` and `autopath` change.
//!
//! Queries pass the plugins of a block in this order, whatever that of the Corefile. The table is in `plugin.rs`:
//!
//! | plugin | what it does |
//! |---|---|
//! | `rrl` | limits the replies to addresses outside the cluster |
//! | `rewrite` | changes the question, and the reply back |
//! | `autopath` | follows the client's search path |
//! | `template` | answers by patterns |
//! | `transfer` | sends zones whole (only over connections) |
//! | `hosts` | answers from a hosts file |
//! | `kubernetes` | answers from the cluster |
//! | `cache` | answers with what upstream resolvers said before |
//! | `forward` | asks upstream resolvers |
//!
//! # The way of a change
//!
//! ```text
//! run/feed.rs    watches Services, EndpointSlices, Namespaces and pods (crate `follow`)
//!   names.rs     keeps what names depend on, and makes the records of each Service that changed
//!     zone.rs    exchanges the records in the table while queries read it
//! ```
//!
//! # The way of a Corefile
//!
//! `corefile/` reads the syntax, `plugin/` what each directive says, and `config.rs` puts both together. `run/` opens
//! the sockets, makes a chain of each server block, and does so again when the Corefile changes.
//!
//! Names follow the DNS-based service discovery specification of Kubernetes, schema 1.1.0, and the `kubernetes` plugin
//! of CoreDNS where the specification says nothing. A file needs only files of its own folder and of folders that do
//! not need it; a test of the workspace checks that.

mod answer;
mod cache;
mod client;
mod config;
mod corefile;
mod error;
mod forward;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod interfaces;
mod log_rate;
mod metrics;
mod names;
mod plan;
mod plugin;
mod recursion;
mod resolv_conf;
mod run;
mod server;
mod sys;
mod wire;
mod zone;

pub use config::Config;
pub use corefile::Fault;
pub use error::Error;
pub use names::Input;
pub use run::{Setup, Source, run};
pub use server::sockets::Sockets;
