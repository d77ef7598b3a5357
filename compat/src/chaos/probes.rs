//! Requests that go on all the time, and what became of them.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use testbed::Namespace;

/// Between two requests.
const PAUSE: Duration = Duration::from_millis(100);
/// A request may take so long; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(2);

/// The requests of one kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline(Arc<Mutex<Vec<Request>>>);

#[derive(Clone, Debug)]
struct Request {
    begin: Instant,
    end: Instant,
    failed: Option<String>,
}

/// What became of the requests of some time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) asked: usize,
    /// Why requests failed, and how long after the beginning they were sent.
    pub(crate) failed: Vec<(Duration, String)>,
    /// The longest time without an answer.
    pub(crate) gap: Duration,
}

impl Timeline {
    /// Notes a request that ends now.
    pub(crate) fn note(&self, begin: Instant, failed: Option<String>) {
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push(Request { begin, end: Instant::now(), failed });
    }

    /// What became of the requests that were sent since.
    pub(crate) fn since(&self, from: Instant) -> Summary {
        let requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut last, mut summary) = (from, Summary::default());
        for request in requests.iter().filter(|request| request.begin >= from) {
            summary.asked += 1;
            match &request.failed {
                Some(why) => summary.failed.push((request.begin - from, why.clone())),
                None => {
                    summary.gap = summary.gap.max(request.end.saturating_duration_since(last));
                    last = last.max(request.end);
                }
            }
        }
        summary.gap = summary.gap.max(last.elapsed());
        summary
    }

    /// Whether the last so many requests sent since then were answered.
    pub(crate) fn is_well(&self, from: Instant, count: usize) -> bool {
        let requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last: Vec<_> = requests.iter().rev().take(count).collect();
        last.len() == count && last.iter().all(|request| request.begin >= from && request.failed.is_none())
    }

    /// Forgets what was sent before.
    pub(crate) fn forget(&self, before: Instant) {
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        requests.retain(|request| request.begin >= before);
    }
}

/// Threads that ask all the time, until the value is dropped.
pub(crate) struct Probes {
    /// From a machine outside to a port of a node.
    pub(crate) node_port: Timeline,
    /// From a node to a Service's address.
    pub(crate) cluster_ip: Timeline,
    /// Names, from a node.
    pub(crate) dns: Timeline,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Where they ask.
pub(crate) struct Targets {
    pub(crate) node_port: SocketAddr,
    pub(crate) cluster_ip: SocketAddr,
    pub(crate) dns: SocketAddr,
    /// A name, and the address that it must have.
    pub(crate) name: (String, IpAddr),
}

impl Probes {
    /// Starts them on these machines.
    pub(crate) fn start(client: &Namespace, node: &Namespace, targets: Targets) -> Self {
        let mut probes = Self {
            node_port: Timeline::default(),
            cluster_ip: Timeline::default(),
            dns: Timeline::default(),
            stop: Arc::default(),
            threads: Vec::new(),
        };
        let Targets { node_port, cluster_ip, dns, name } = targets;
        probes.repeat(client, probes.node_port.clone(), move |_| page(node_port));
        probes.repeat(node, probes.cluster_ip.clone(), move |_| page(cluster_ip));
        probes.repeat(node, probes.dns.clone(), move |number| address(dns, number, &name));
        probes
    }

    fn repeat(
        &mut self,
        machine: &Namespace,
        timeline: Timeline,
        ask: impl Fn(u16) -> anyhow::Result<()> + Send + 'static,
    ) {
        let (machine, stop) = (machine.clone(), self.stop.clone());
        self.threads.push(std::thread::spawn(move || {
            if let Err(error) = machine.enter() {
                timeline.note(Instant::now(), Some(error.to_string()));
                return;
            }
            let mut number = 0_u16;
            while !stop.load(Ordering::Relaxed) {
                number = number.wrapping_add(1);
                let begin = Instant::now();
                timeline.note(begin, ask(number).err().map(|error| format!("{error:#}")));
                std::thread::sleep(PAUSE.saturating_sub(begin.elapsed()));
            }
        }));
    }

    /// All of them with their names.
    pub(crate) fn all(&self) -> [(&'static str, &Timeline); 3] {
        [("NodePort", &self.node_port), ("ClusterIP", &self.cluster_ip), ("DNS", &self.dns)]
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

fn page(address: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).context("connect")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").context("write")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).context("read")?;
    ensure!(text.contains("It works!"), "the answer is {text:?}");
    Ok(())
}

/// Asks for the addresses of a name (RFC 1035, 4).
fn address(server: SocketAddr, id: u16, (name, wanted): &(String, IpAddr)) -> anyhow::Result<()> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(u8::try_from(label.len())?);
        message.extend(label.bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(server).context("connect")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(&message).context("send")?;
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).context("receive")?;
    let reply = &buffer[..length];
    ensure!(reply.len() > message.len() && reply[..2] == message[..2], "the reply is to another question");
    let (code, answers) = (reply[3] & 15, u16::from_be_bytes([reply[6], reply[7]]));
    let IpAddr::V4(wanted) = wanted else { anyhow::bail!("only addresses of IPv4 are asked for") };
    let found = reply.windows(4).any(|bytes| bytes == wanted.octets());
    ensure!(code == 0 && answers == 1 && found, "code {code}, {answers} answers, right address: {found}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_the_time_between_two_answers() {
        let timeline = Timeline::default();
        let begin = Instant::now();
        timeline.note(begin, None);
        std::thread::sleep(Duration::from_millis(30));
        timeline.note(Instant::now(), Some("refused".to_owned()));
        assert!(!timeline.is_well(begin, 1));
        timeline.note(Instant::now(), None);
        let summary = timeline.since(begin);
        assert_eq!((summary.asked, summary.failed.len()), (3, 1));
        assert!(summary.gap >= Duration::from_millis(30), "{summary:?}");
        assert!(timeline.is_well(begin, 1) && !timeline.is_well(begin, 2));
    }
}
