//! The server on loopback, fed from memory, asked by real clients.

mod harness;
mod names;
mod protocol;
mod secure;
mod upstream;
