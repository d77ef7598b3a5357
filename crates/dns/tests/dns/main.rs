//! The server on loopback, fed from memory, asked by real clients.

mod bad_upstreams;
mod cache;
mod changes;
mod harness;
mod loops;
mod names;
mod protocol;
mod resolvers;
mod scripted;
mod secure;
mod secure_resolvers;
mod upstream;
