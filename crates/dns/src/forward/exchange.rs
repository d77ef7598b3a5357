//! One query to one resolver.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

use super::Ask;
use crate::server::tcp::{put_message, read_message};
use crate::wire::Message;

/// Room for a reply; a longer one than was asked for is cut.
const REPLY: usize = 4096;

/// Sends a query to a resolver and waits for the reply to it.
///
/// Each query has a socket of its own, so its port is as random as its id; the socket is connected, so the kernel
/// takes datagrams from the resolver's address and port only. Whatever else comes is not looked at twice.
///
/// # Errors
/// When the network says that the resolver cannot be reached.
pub(super) async fn exchange(upstream: SocketAddr, ask: &Ask) -> io::Result<Vec<u8>> {
    let any: SocketAddr = if upstream.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(upstream).await?;
    socket.send(&ask.packet).await?;
    let mut reply = vec![0; REPLY];
    loop {
        let length = socket.recv(&mut reply).await?;
        let Some(message) = reply_to(ask, &reply[..length]) else {
            tracing::debug!(%upstream, "a datagram that answers no question of ours");
            continue;
        };
        if message.truncated() && ask.whole {
            return over_tcp(upstream, ask).await;
        }
        reply.truncate(length);
        return Ok(reply);
    }
}

/// The same over a connection, for a reply that does not fit a datagram (RFC 7766, 5).
async fn over_tcp(upstream: SocketAddr, ask: &Ask) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(upstream).await?;
    let mut bytes = Vec::new();
    put_message(&ask.packet, &mut bytes);
    stream.write_all(&bytes).await?;
    let mut reply = Vec::new();
    if read_message(&mut stream, &mut reply).await? && reply_to(ask, &reply).is_some() {
        return Ok(reply);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the resolver sent no reply to the query"))
}

/// A message, if it replies to this query: of its id, to its question (RFC 5452, 9.1). A resolver that cannot
/// read the query may leave the question out, but only together with everything else.
fn reply_to<'a>(ask: &Ask, packet: &'a [u8]) -> Option<Message<'a>> {
    let message = Message::read(packet).ok()?;
    let own = ask.packet[..2] == message.id.to_be_bytes();
    (own && (message.is_bare() || message.is_about(ask.question()))).then_some(message)
}
