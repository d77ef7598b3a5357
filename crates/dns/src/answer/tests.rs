//! Tests of answers, named after the sections of the DNS-based service discovery specification 1.1.0, after RFCs, or
//! after CoreDNS where they check what it does.

mod cost;
mod discovery;
mod packets;
mod protocol;
mod scene;
mod shown;
mod srv;
