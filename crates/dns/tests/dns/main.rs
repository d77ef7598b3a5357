//! The server on loopback addresses with objects from memory, asked by real clients.

mod bad_upstreams;
mod cache;
mod changes;
mod clients;
mod harness;
mod loops;
mod machine;
mod names;
mod protocol;
mod reload;
mod resolvers;
mod rewrites;
mod scripted;
mod secure;
mod secure_resolvers;
mod upstream;
