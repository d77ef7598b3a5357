//! A query in a datagram.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::id::Ids;
use crate::wire::{LARGEST_UDP, Message, Question};

/// Room for a reply, more than is ever asked for; what is longer is not whole.
const REPLY: usize = LARGEST_UDP + 1;
/// How many datagrams that answer nothing are looked at; who sends more than that is guessing ids.
const MOST_FOREIGN: usize = 256;

/// The local end of sockets to a resolver: the address that was configured, any port.
pub(super) fn local(to: SocketAddr, source: Option<IpAddr>) -> SocketAddr {
    let any = if to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    (source.filter(|source| source.is_ipv4() == to.is_ipv4()).unwrap_or(any), 0).into()
}

/// Sends a query to a resolver and waits for the reply to it; tells whether that is whole.
///
/// Each query has a socket of its own, so its port is as random as its id; the socket is connected, so the kernel
/// takes datagrams from the resolver's address and port only. Whatever else comes is not looked at twice.
///
/// # Errors
/// When the network says that the resolver cannot be reached, or datagrams pour in that answer nothing.
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

/// A message, if it replies to this question (RFC 5452, 9.1). A resolver that cannot read the query may leave the
/// question out, but only together with everything else.
pub(super) fn reply_to<'a>(question: &Question, packet: &'a [u8]) -> Option<Message<'a>> {
    let message = Message::read(packet).ok()?;
    (message.is_bare() || message.is_about(question.wire())).then_some(message)
}
