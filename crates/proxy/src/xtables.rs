//! What the modes share that work by the programs of iptables: iptables, ipvs and userspace mode.
//!
//! | file | what it has |
//! |---|---|
//! | [`text`] | the format of `iptables-save` and `iptables-restore` as a value |
//! | `lines`, `script` | that format, written line by line |
//! | `port_name` | how rules name a Service port in their comments |
//! | `settings` | what rules depend on besides their Service |
//! | `programs`, `place`, `failure` | the programs, the network namespace in which they run, and what they refuse |
//! | [`trace`] | walks packets through the rules |
//!
//! A mode may use this room, and no mode uses another mode.

pub mod text;
pub mod trace;

mod failure;
mod lines;
mod place;
mod port_name;
pub(crate) mod programs;
pub(crate) mod script;
mod settings;

pub use failure::Failure;
pub(crate) use lines::Lines;
pub use place::Place;
pub(crate) use port_name::is_writable;
pub use port_name::port_name;
pub(crate) use programs::{Programs, Variant, in_use as programs_in_use};
pub(crate) use script::Script;
pub use settings::Platform;
pub(crate) use settings::{Settings, span};
pub(crate) use text::same;
