//! The server's side of SPDY/3.1, as far as kubectl's streams need it (SPDY protocol, draft 3.1).
//!
//! Clients open streams, both sides send data and end their half; nothing is pushed. Of two matters here differs from
//! the draft, since the clients that there are (moby/spdystream) do: a sender does not wait for room in a window, so
//! that a receiver that is behind is waited for on the whole connection; and names of headers may repeat.

mod frame;
mod headers;
mod session;

#[cfg(feature = "fuzz")]
pub(crate) use frame::{Decoder, Frame};
#[cfg(feature = "fuzz")]
pub(crate) use headers::Inflater;
pub(crate) use session::{Incoming, Stream, serve};

/// The other side does not keep to the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client does not speak SPDY/3.1: {0}")]
pub(crate) struct Fault(&'static str);
