//! Answers, filed by section of the DNS-based service discovery specification 1.1.0, then by RFC.

mod cost;
mod discovery;
mod packets;
mod protocol;
mod scene;
mod shown;
mod srv;
