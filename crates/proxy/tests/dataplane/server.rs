//! Servers that say who they are and who asks, and clients that ask.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::namespace::Namespace;

/// How long a client waits before it calls an answer missing.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a server answers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Who answers.
    pub(crate) server: String,
    /// Who asked, as the server sees it.
    pub(crate) client: IpAddr,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (server, client) = text.trim().split_once(' ').unwrap();
        Self { server: server.into(), client: client.parse().unwrap() }
    }
}

/// Serves TCP and UDP on a port of the namespace for the rest of the process: answers each line.
pub(crate) fn serve(namespace: &Namespace, name: &'static str, port: u16) {
    let tcp = namespace.run(|| TcpListener::bind(("::", port))).unwrap();
    serve_udp(namespace, name, SocketAddr::new("::".parse().unwrap(), port));
    namespace.spawn(move || {
        for stream in tcp.incoming().flatten() {
            std::thread::spawn(move || answer_lines(name, stream));
        }
    });
}

/// Serves UDP at one address. A server on a machine with several must not listen at all of them at once: its
/// answers would come from whichever is nearest to the client.
pub(crate) fn serve_udp(namespace: &Namespace, name: &'static str, address: SocketAddr) {
    let udp = namespace.run(|| UdpSocket::bind(address)).unwrap();
    namespace.spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, client)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(text(name, client).as_bytes(), client);
        }
    });
}

fn answer_lines(name: &str, mut stream: TcpStream) {
    let Ok(client) = stream.peer_addr() else { return };
    let mut byte = [0];
    while stream.read_exact(&mut byte).is_ok() {
        if stream.write_all(text(name, client).as_bytes()).is_err() {
            return;
        }
    }
}

fn text(name: &str, client: SocketAddr) -> String {
    format!("{name} {}\n", client.ip().to_canonical())
}

/// A TCP connection that asks again and again.
pub(crate) struct Connection(TcpStream);

impl Connection {
    pub(crate) fn open(from: &Namespace, to: &str) -> io::Result<Self> {
        Self::open_within(from, to, PATIENCE)
    }

    fn open_within(from: &Namespace, to: &str, patience: Duration) -> io::Result<Self> {
        let to: SocketAddr = to.parse().unwrap();
        let stream = from.run(|| TcpStream::connect_timeout(&to, patience))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    pub(crate) fn ask(&mut self) -> io::Result<Answer> {
        self.0.write_all(b"?")?;
        let mut text = Vec::new();
        let mut byte = [0];
        while byte != *b"\n" {
            self.0.read_exact(&mut byte)?;
            text.push(byte[0]);
        }
        Ok(Answer::parse(&String::from_utf8_lossy(&text)))
    }
}

impl Connection {
    /// Ends with a reset: an answer comes that nobody reads.
    pub(crate) fn abandon(mut self) {
        self.0.write_all(b"?").unwrap();
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Asks once over TCP.
pub(crate) fn ask(from: &Namespace, to: &str) -> io::Result<Answer> {
    ask_within(from, to, PATIENCE)
}

/// Asks once over TCP and waits no longer than this for the connection.
pub(crate) fn ask_within(from: &Namespace, to: &str, patience: Duration) -> io::Result<Answer> {
    Connection::open_within(from, to, patience)?.ask()
}

/// A UDP socket that asks one address again and again, always from the same port.
pub(crate) struct Asker(UdpSocket);

impl Asker {
    pub(crate) fn new(from: &Namespace, to: &str) -> Self {
        let any = if to.starts_with('[') { "::" } else { "0.0.0.0" };
        Self::at(from, any, to)
    }

    /// The same with this source address.
    pub(crate) fn at(from: &Namespace, source: &str, to: &str) -> Self {
        let to: SocketAddr = to.parse().unwrap();
        let socket = from.run(|| UdpSocket::bind((source, 0))).unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// Asks as clients of UDP do, who go on sending: a datagram may be lost while its way changes.
    pub(crate) fn ask_on(&self) -> io::Result<Answer> {
        self.ask().or_else(|_| self.ask())
    }

    pub(crate) fn ask(&self) -> io::Result<Answer> {
        self.0.send(b"?")?;
        let mut buffer = [0; 64];
        let length = self.0.recv(&mut buffer)?;
        Ok(Answer::parse(&String::from_utf8_lossy(&buffer[..length])))
    }
}
