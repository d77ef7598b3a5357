//! Queries in datagrams.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::Server;
use crate::answer::Transport;

/// Room for a query; one that is larger is cut and then malformed.
const QUERY: usize = 4096;
/// How long to wait when the socket cannot be read, so as not to turn in circles.
const PAUSE: Duration = Duration::from_millis(10);

/// A socket for the runtime.
pub(crate) fn open(socket: std::net::UdpSocket) -> io::Result<UdpSocket> {
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Answers for ever. The cluster's names are answered on the spot, without a task and without memory of their
/// own; what must be asked elsewhere is a task, of which the forwarder admits only so many.
pub(crate) async fn serve(server: Arc<Server>, socket: UdpSocket) {
    let socket = Arc::new(socket);
    let mut waiting = JoinSet::new();
    let mut packet = [0; QUERY];
    let mut reply = Vec::with_capacity(QUERY);
    loop {
        let (length, client) = match socket.recv_from(&mut packet).await {
            Ok(received) => received,
            Err(error) => {
                tracing::warn!(%error, "a DNS query could not be received");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        while waiting.try_join_next().is_some() {}
        match server.begin(&packet[..length], Transport::Udp, &mut reply) {
            Some(pending) => {
                let (server, socket) = (server.clone(), socket.clone());
                waiting.spawn(async move {
                    let mut reply = Vec::new();
                    server.finish(pending, &mut reply).await;
                    send(&socket, &reply, client).await;
                });
            }
            None => send(&socket, &reply, client).await,
        }
    }
}

async fn send(socket: &UdpSocket, reply: &[u8], client: SocketAddr) {
    if reply.is_empty() {
        return;
    }
    if let Err(error) = socket.send_to(reply, client).await {
        // The client is gone or never was; it will ask again if it is there.
        tracing::debug!(%client, %error, "a DNS reply could not be sent");
    }
}
