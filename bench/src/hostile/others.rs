//! The other clients: what they wait for while somebody is hostile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::client::conn::http2::SendRequest;

use super::wire::{Body, Wire, send, whole};
use crate::figures::Sample;
use crate::process::status_kib;

/// Between two requests of one kind.
const PAUSE: Duration = Duration::from_millis(5);
/// Between two new connections.
const CONNECTION_PAUSE: Duration = Duration::from_millis(50);
/// Who waits longer counts with this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Clients on threads of their own, until the value is asked for what it saw.
pub(crate) struct Others {
    stop: Arc<AtomicBool>,
    /// The server's largest resident memory, in KiB.
    peak: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Seen>>,
    memory: JoinHandle<()>,
}

/// What one of them saw.
#[derive(Debug, Default)]
struct Seen {
    waits: Vec<Duration>,
    refused: usize,
}

/// What all of them saw.
pub(crate) struct Report {
    /// Reads, writes, and new connections with a first read, in milliseconds.
    pub(crate) waits: [Sample; 3],
    /// Requests that were not answered as they should.
    pub(crate) refused: usize,
    /// The server's largest resident memory, in KiB.
    pub(crate) peak: u64,
}

#[derive(Clone, Copy)]
enum Doing {
    Read,
    Write,
    Connect,
}

impl Others {
    /// Starts them against the server of that process.
    pub(crate) fn start(wire: &Wire, server: u32) -> Self {
        let (stop, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = [Doing::Read, Doing::Write, Doing::Connect]
            .map(|doing| {
                let (wire, stop) = (wire.clone(), stop.clone());
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    runtime.map(|runtime| runtime.block_on(one(&wire, doing, &stop))).unwrap_or_default()
                })
            })
            .into();
        let memory = {
            let (stop, peak) = (stop.clone(), peak.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    peak.fetch_max(status_kib(server, "VmRSS"), Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(10));
                }
            })
        };
        Self { stop, peak, threads, memory }
    }

    /// Ends them.
    pub(crate) fn report(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let seen: Vec<Seen> = self.threads.into_iter().map(|one| one.join().unwrap_or_default()).collect();
        drop(self.memory.join());
        let refused = seen.iter().map(|one| one.refused).sum();
        let mut waits = seen.into_iter().map(|one| Sample::of_millis(one.waits));
        let mut next = || waits.next().unwrap_or_default();
        Report { waits: [next(), next(), next()], refused, peak: self.peak.load(Ordering::Relaxed) }
    }
}

async fn one(wire: &Wire, doing: Doing, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut sender = None;
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let begin = Instant::now();
        let done = tokio::time::timeout(PATIENCE, ask(wire, doing, &mut sender, number)).await;
        seen.waits.push(begin.elapsed());
        if !matches!(done, Ok(Ok(200..=299))) {
            seen.refused += 1;
            sender = None;
        }
        tokio::time::sleep(if matches!(doing, Doing::Connect) { CONNECTION_PAUSE } else { PAUSE }).await;
    }
    seen
}

async fn ask(
    wire: &Wire,
    doing: Doing,
    kept: &mut Option<SendRequest<Body>>,
    number: u64,
) -> anyhow::Result<u16> {
    let mut sender = match kept.take().filter(|_| !matches!(doing, Doing::Connect)) {
        Some(sender) => sender,
        None => wire.http2().await?,
    };
    let (method, path, body) = match doing {
        Doing::Read | Doing::Connect => ("GET", "/api/v1/namespaces/default".to_owned(), String::new()),
        Doing::Write => {
            let path = "/api/v1/namespaces/default/configmaps/others?fieldManager=others".to_owned();
            ("PATCH", path, format!("{{\"data\":{{\"number\":\"{number}\"}}}}"))
        }
    };
    let response = send(&mut sender, method, &path, "application/merge-patch+json", whole(body)).await?;
    let code = response.status().as_u16();
    response.into_body().collect().await?;
    *kept = Some(sender);
    Ok(code)
}
