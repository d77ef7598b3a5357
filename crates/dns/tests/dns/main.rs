//! The server on loopback, fed from memory, asked by real clients.

mod bad_upstreams;
mod cache;
mod harness;
mod loops;
mod names;
mod protocol;
mod resolvers;
mod scripted;
mod secure_resolvers;
mod upstream;
