//! Queries over UDP.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::id::Ids;
use crate::wire::{LARGEST_UDP, Message, Question};

/// The size of the buffer for a reply, one byte more than resolvers are told that a reply may have. A reply that fills
/// it is not complete.
const REPLY: usize = LARGEST_UDP + 1;
/// The most datagrams that are no reply to the query. A sender of more is guessing ids.
const MOST_FOREIGN: usize = 256;

/// The local address of sockets to a resolver: the configured one if its family is right, and any port.
pub(super) fn local(to: SocketAddr, source: Option<IpAddr>) -> SocketAddr {
    let any = if to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    (source.filter(|source| source.is_ipv4() == to.is_ipv4()).unwrap_or(any), 0).into()
}

/// Sends a query to a resolver and waits for the reply. Returns whether that is complete.
///
/// Each query has a socket of its own, so its port is random like its id. The socket is connected, so the kernel
/// accepts datagrams from the address and port of the resolver only.
///
/// # Errors
/// When the resolver cannot be reached, or too many datagrams come that are no reply to the query.
pub(super) async fn exchange(
    to: SocketAddr,
    source: Option<IpAddr>,
    question: &Question,
    (ids, edns): (&Ids, bool),
) -> io::Result<(Vec<u8>, bool)> {
    let socket = UdpSocket::bind(local(to, source)).await?;
    socket.connect(to).await?;
    let id = ids.next();
    socket.send(&question.packet(id, edns)).await?;
    let mut reply = vec![0; REPLY];
    for _ in 0..MOST_FOREIGN {
        let length = socket.recv(&mut reply).await?;
        let Some(message) = reply_to(question, &reply[..length]).filter(|message| message.id == id) else {
            continue;
        };
        let whole = !message.truncated() && length < REPLY;
        reply.truncate(length);
        return Ok((reply, whole));
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "it sends datagrams that answer no question of ours"))
}

/// Reads a message; `None` if it is no reply to this question (RFC 5452, 9.1). A reply that is a header only counts:
/// resolvers send it if they cannot read the query.
pub(super) fn reply_to<'a>(question: &Question, packet: &'a [u8]) -> Option<Message<'a>> {
    let message = Message::read(packet).ok()?;
    (message.is_bare() || message.is_about(question.wire())).then_some(message)
}
