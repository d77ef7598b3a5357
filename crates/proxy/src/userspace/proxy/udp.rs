//! UDP: each client address has a socket of its own to its endpoint.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::RecvFlags;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinSet;

use super::Shared;
use super::pool::Pool;

/// How long a client keeps its endpoint without a packet in either direction. kube-proxy's userspace mode took
/// 250 ms, which loses the answers of slow servers: a DNS server may ask others for seconds.
const IDLE: Duration = Duration::from_secs(10);
/// How long to wait when the kernel gives no packets.
const PAUSE: Duration = Duration::from_millis(50);
/// The largest payload of a UDP packet.
const LARGEST: usize = 65_535;
/// How many packets of a client may wait for its socket; more are lost, as UDP packets are.
const WAITING: usize = 64;

type Datagram = Vec<u8>;

/// One client at a proxy port.
struct Client {
    address: SocketAddr,
    /// The proxy port's socket, which answers leave by.
    socket: Arc<UdpSocket>,
    pool: Arc<Pool>,
}

/// An endpoint refused packets before it answered any.
struct Refused;

/// Passes packets on until it is dropped, and all its clients with it.
pub(super) async fn serve(socket: UdpSocket, pool: Arc<Pool>, shared: Arc<Shared>) {
    let socket = Arc::new(socket);
    let mut clients: HashMap<SocketAddr, mpsc::Sender<Datagram>> = HashMap::new();
    let mut tasks: JoinSet<SocketAddr> = JoinSet::new();
    loop {
        let (datagram, address) = tokio::select! {
            Some(ended) = tasks.join_next() => {
                // It may have come again since.
                if let Ok(address) = ended && clients.get(&address).is_some_and(mpsc::Sender::is_closed) {
                    clients.remove(&address);
                }
                continue;
            }
            received = receive_from(&socket) => match received {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, "a packet could not be received");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        let datagram = match clients.get(&address) {
            None => datagram,
            Some(sender) => match sender.try_send(datagram) {
                Err(TrySendError::Closed(datagram)) => datagram,
                Ok(()) | Err(TrySendError::Full(_)) => continue,
            },
        };
        let Some(permit) = shared.file_limit.take(1) else { continue };
        let (sender, more) = mpsc::channel(WAITING);
        clients.insert(address, sender);
        let client = Client { address, socket: socket.clone(), pool: pool.clone() };
        tasks.spawn(async move {
            client.serve(datagram, more).await;
            drop(permit);
            address
        });
    }
}

impl Client {
    /// Passes packets on until nobody sends any more. What waits when an endpoint is left goes to the next.
    async fn serve(&self, first: Datagram, mut more: mpsc::Receiver<Datagram>) {
        let mut next = Some(first);
        while let Some(first) = next {
            self.serve_from(&first, &mut more).await;
            // Nobody can send between this and the end: the proxy port is served by the same thread.
            next = more.try_recv().ok();
        }
    }

    /// An endpoint that refuses the first packets is passed over.
    async fn serve_from(&self, first: &[u8], more: &mut mpsc::Receiver<Datagram>) {
        for endpoint in self.pool.turn(self.address.ip(), Instant::now()) {
            match self.speak(endpoint, first, more).await {
                Ok(()) => return,
                Err(Refused) => tracing::debug!(%endpoint, "the endpoint does not listen"),
            }
        }
    }

    async fn speak(
        &self,
        endpoint: SocketAddr,
        first: &[u8],
        more: &mut mpsc::Receiver<Datagram>,
    ) -> Result<(), Refused> {
        let mut behind = self.pool.watch();
        let upstream = connect(endpoint).await.map_err(|error| {
            tracing::debug!(%endpoint, %error, "the endpoint cannot be reached");
            Refused
        })?;
        self.pool.note(self.address.ip(), endpoint, Instant::now());
        let mut answered = false;
        let mut sent = upstream.send(first).await.map(drop);
        loop {
            match sent {
                Ok(()) => {}
                Err(_) if !answered => return Err(Refused),
                Err(_) => return Ok(()),
            }
            sent = tokio::select! {
                datagram = more.recv() => match datagram {
                    Some(datagram) => upstream.send(&datagram).await.map(drop),
                    None => return Ok(()),
                },
                answer = receive(&upstream) => match answer {
                    Ok(answer) => {
                        answered = true;
                        // A packet that cannot be sent is lost.
                        let _ = self.socket.send_to(&answer, self.address).await;
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                _ = behind.changed() => match behind.borrow_and_update().serving.contains(&endpoint) {
                    true => Ok(()),
                    false => return Ok(()),
                },
                () = tokio::time::sleep(IDLE) => return Ok(()),
            };
        }
    }
}

async fn connect(endpoint: SocketAddr) -> io::Result<UdpSocket> {
    let any = match endpoint {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(endpoint).await?;
    Ok(socket)
}

/// The next packet of a connected socket, or the word that nobody listens at its other end. Memory for a packet is
/// taken only once it is there.
async fn receive(socket: &UdpSocket) -> io::Result<Datagram> {
    // A refusal by ICMP is an error of the socket and nothing to read.
    let either = Interest::READABLE | Interest::ERROR;
    let receive = || {
        let mut datagram = Vec::with_capacity(LARGEST);
        rustix::net::recv(socket, rustix::buffer::spare_capacity(&mut datagram), RecvFlags::empty())?;
        Ok(fitted(datagram))
    };
    socket.async_io(either, receive).await
}

/// The same with who sent it.
async fn receive_from(socket: &UdpSocket) -> io::Result<(Datagram, SocketAddr)> {
    loop {
        socket.readable().await?;
        let mut datagram = Vec::with_capacity(LARGEST);
        match socket.try_recv_buf_from(&mut datagram) {
            Ok((_, sender)) => return Ok((fitted(datagram), sender)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

fn fitted(mut datagram: Datagram) -> Datagram {
    datagram.shrink_to_fit();
    datagram
}
