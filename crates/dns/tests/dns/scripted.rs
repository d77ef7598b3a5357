//! Upstream resolvers whose replies a test makes, and a fast client.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

/// What a resolver does with a query on a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnConnection {
    /// Sends good replies.
    Good,
    /// Sends half a reply and closes the connection.
    Midway,
    /// Does not listen.
    Deaf,
}

/// A resolver that sends the datagrams that a function returns for each query, in order.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Upstream {
    pub(crate) async fn start(behave: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Self {
        Self::with(Duration::ZERO, OnConnection::Good, behave).await
    }

    /// A resolver that replies with a delay.
    pub(crate) async fn with(
        late: Duration,
        on_connection: OnConnection,
        behave: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static,
    ) -> Self {
        let (udp, tcp) = sockets().await;
        let address = udp.local_addr().unwrap();
        let (udp, asked) = (Arc::new(udp), Arc::new(AtomicUsize::new(0)));
        let counted = asked.clone();
        let connections = Arc::new(AtomicUsize::new(0));
        let datagrams = tokio::spawn(async move {
            let mut packet = [0; 2048];
            while let Ok((length, client)) = udp.recv_from(&mut packet).await {
                counted.fetch_add(1, Ordering::Relaxed);
                let (replies, udp) = (behave(&packet[..length]), udp.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(late).await;
                    for reply in replies {
                        // The socket of a query may be closed by now.
                        drop(udp.send_to(&reply, client).await);
                    }
                });
            }
        });
        let mut tasks = vec![datagrams];
        if on_connection != OnConnection::Deaf {
            let (opened, counted) = (connections.clone(), asked.clone());
            tasks.push(tokio::spawn(async move {
                while let Ok((stream, _)) = tcp.accept().await {
                    opened.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(serve(stream, on_connection, counted.clone()));
                }
            }));
        }
        Self { address, asked, connections, tasks }
    }

    /// How many queries it got.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// How many connections were opened to it.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn sockets() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

async fn serve(
    mut stream: TcpStream,
    on_connection: OnConnection,
    asked: Arc<AtomicUsize>,
) -> io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut packet = vec![0; usize::from(length)];
        stream.read_exact(&mut packet).await?;
        asked.fetch_add(1, Ordering::Relaxed);
        let reply = good(&packet);
        stream.write_u16(reply.len() as u16).await?;
        if on_connection == OnConnection::Midway {
            return stream.write_all(&reply[..reply.len() / 2]).await;
        }
        stream.write_all(&reply).await?;
    }
}

/// The reply that the name has the address 192.0.2.1.
pub(crate) fn good(query: &[u8]) -> Vec<u8> {
    reply(query, 0, &[192, 0, 2, 1])
}

/// A reply with a response code, and with an address if that is NOERROR.
pub(crate) fn reply(query: &[u8], rcode: u8, address: &[u8]) -> Vec<u8> {
    let question_end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let mut reply = query[..question_end].to_vec();
    reply[2] |= 0x80;
    reply[3] = 0x80 | rcode;
    reply[6..12].fill(0);
    if rcode == 0 {
        reply[7] = 1;
        reply.extend_from_slice(&[0xC0, 0x0C, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        reply.extend_from_slice(address);
    }
    reply
}

/// A query with recursion desired.
pub(crate) fn query(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut packet = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.extend_from_slice(&[0, 0, kind as u8, 0, 1]);
    packet
}

/// What a client sees of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) rcode: u8,
    pub(crate) answers: u8,
    pub(crate) truncated: bool,
    pub(crate) took: Duration,
}

/// Asks a server for the address of a name in one datagram.
pub(crate) async fn look_up(server: SocketAddr, name: &str) -> Seen {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server).await.unwrap();
    let (begun, mut reply) = (Instant::now(), [0; 2048]);
    socket.send(&query(7, name, 1)).await.unwrap();
    let length =
        tokio::time::timeout(Duration::from_secs(6), socket.recv(&mut reply)).await.unwrap().unwrap();
    assert!(length >= 12 && reply[..2] == [0, 7], "a reply to the query");
    Seen { rcode: reply[3] & 15, answers: reply[7], truncated: reply[2] & 2 != 0, took: begun.elapsed() }
}
