//! The server on loopback, fed from memory, asked by real clients.

mod bench;
mod names;
