//! The Container Runtime Interface: messages, a client over a unix socket, and the runtime's events.
//!
//! Only what the node agent uses is here, written by hand, so that no protobuf compiler is needed to build.

pub mod events;
pub mod messages;

mod client;

pub use client::{Client, RuntimeError};
