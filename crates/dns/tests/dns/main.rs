//! The server on loopback, fed from memory, asked by real clients.

mod changes;
mod harness;
mod machine;
mod names;
mod protocol;
mod resolvers;
mod secure;
mod upstream;
