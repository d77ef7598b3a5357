//! Sending a question and taking what comes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::dns::codes;
use crate::dns::question::Question;
use crate::dns::reply::{Outcome, Section, decode};

/// How long an answer may take before the question is asked again.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long silence must last after bytes that may deserve none.
const SILENCE: Duration = Duration::from_millis(150);
/// How often a question is asked.
const TRIES: usize = 2;
/// How many messages a zone transfer may have.
const MOST_MESSAGES: usize = 1000;

/// Asks one server.
#[derive(Debug)]
pub struct Asker {
    socket: UdpSocket,
    server: SocketAddr,
    id: u16,
}

impl Asker {
    /// An asker in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The system gives no socket.
    pub fn new(server: SocketAddr) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("no UDP socket")?;
        socket.connect(server).with_context(|| format!("{server} cannot be asked"))?;
        Ok(Self { socket, server, id: fastrand::u16(..) })
    }

    /// Asks once, and again when nothing comes.
    ///
    /// # Errors
    /// The system refuses to send; that nothing listens is no error but [`Outcome::Silence`].
    pub fn ask(&mut self, question: &Question) -> anyhow::Result<Outcome> {
        self.id = self.id.wrapping_add(1);
        let message = question.encode(self.id);
        let (patience, tries) = match question.proper() {
            Some(_) => (PATIENCE, TRIES),
            None => (SILENCE, 1),
        };
        let mut outcome = Outcome::Silence;
        for _ in 0..tries {
            outcome = if question.tcp {
                self.over_tcp(question, &message, patience)
            } else {
                self.over_udp(question, &message, patience)?
            };
            if outcome != Outcome::Silence {
                break;
            }
        }
        Ok(outcome)
    }

    fn over_udp(&self, question: &Question, message: &[u8], patience: Duration) -> anyhow::Result<Outcome> {
        match self.socket.send(message) {
            // What an earlier message was refused with.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(Outcome::Silence),
            sent => sent?,
        };
        let end = Instant::now() + patience;
        let mut buffer = vec![0; 65_535];
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.socket.set_read_timeout(Some(left))?;
            let Ok(length) = self.socket.recv(&mut buffer) else { continue };
            if buffer.get(..2) == message.get(..2) && length >= 2 {
                return Ok(decode(&buffer[..length], question));
            }
        }
        Ok(Outcome::Silence)
    }

    fn over_tcp(&self, question: &Question, message: &[u8], patience: Duration) -> Outcome {
        let exchanged = (|| -> io::Result<Outcome> {
            let mut stream = TcpStream::connect_timeout(&self.server, patience)?;
            stream.set_read_timeout(Some(patience))?;
            let mut framed = (message.len() as u16).to_be_bytes().to_vec();
            framed.extend(message);
            stream.write_all(&framed)?;
            let outcome = decode(&receive(&mut stream)?, question);
            match outcome {
                Outcome::Reply(_) if question.is_transfer() => transfer(&mut stream, outcome, question),
                outcome => Ok(outcome),
            }
        })();
        exchanged.unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Outcome::Silence,
            _ => Outcome::Closed,
        })
    }
}

fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// Reads messages until the zone's SOA comes for the second time (RFC 5936, section 2.2).
fn transfer(stream: &mut TcpStream, first: Outcome, question: &Question) -> io::Result<Outcome> {
    let Outcome::Reply(mut whole) = first else { return Ok(first) };
    let starts = |records: &[crate::dns::reply::Record]| {
        let answers = records.iter().filter(|record| record.section == Section::Answer);
        answers.filter(|record| record.kind == codes::SOA).count()
    };
    for _ in 0..MOST_MESSAGES {
        if starts(&whole.records) != 1 || whole.rcode != 0 {
            break;
        }
        match decode(&receive(stream)?, question) {
            Outcome::Reply(next) => whole.records.extend(next.records),
            other => return Ok(other),
        }
    }
    Ok(Outcome::Reply(whole))
}
