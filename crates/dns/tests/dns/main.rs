//! The server on loopback, fed from memory, asked by real clients.

mod changes;
mod harness;
mod names;
mod protocol;
mod secure;
mod upstream;
