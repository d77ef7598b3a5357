//! Sockets: they read queries, hand them to the plan of their port, and write the replies.

pub(crate) mod certificate;
mod https;
pub(crate) mod sockets;
pub(crate) mod tcp;
pub(crate) mod udp;
