//! Queries in datagrams.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::client::{Client, Transport};
use crate::plan::{Action, SharedPlan, Summary};
use crate::sys::{BATCH, Batch, ReplyPath};

/// How long to wait when the socket cannot be read, so as not to turn in circles.
const PAUSE: Duration = Duration::from_millis(10);
/// How many queries of a socket may take longer at a time. More are not answered: their clients ask again, and what
/// waits takes memory.
const WAITING: usize = 16_384;
/// The stack of a thread, in bytes.
const STACK: usize = 256 * 1024;

/// A thread that answers the datagrams of a socket.
#[derive(Debug)]
pub(crate) struct Worker {
    socket: Arc<UdpSocket>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread for a socket, which counts under a number from 1. What takes longer becomes a task of
    /// `tasks`.
    ///
    /// # Errors
    /// When the machine has no thread left.
    pub(crate) fn start(
        socket: UdpSocket,
        number: usize,
        shared: Arc<SharedPlan>,
        tasks: Handle,
    ) -> std::io::Result<Self> {
        socket.set_nonblocking(false)?;
        let pktinfo = socket.local_addr()?.ip().is_unspecified();
        let socket = Arc::new(socket);
        let own = socket.clone();
        let thread = std::thread::Builder::new()
            .name("dns".to_owned())
            .stack_size(STACK)
            .spawn(move || serve(&own, number, &shared, &tasks, pktinfo))?;
        Ok(Self { socket, thread: Some(thread) })
    }
}

impl Drop for Worker {
    /// Ends the thread after what has come in. From its first line on, what comes goes to other sockets that fit, such
    /// as one for all addresses beside this one: this one takes its own datagrams only.
    fn drop(&mut self) {
        let _ = self.socket.local_addr().and_then(|own| {
            let own = match own.ip() {
                IpAddr::V4(any) if any.is_unspecified() => (Ipv4Addr::LOCALHOST, own.port()).into(),
                IpAddr::V6(any) if any.is_unspecified() => (Ipv6Addr::LOCALHOST, own.port()).into(),
                _ => own,
            };
            self.socket.connect(own)
        });
        // Not connected, says the kernel, and yet wakes whoever waits.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Read);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

/// Answers until the socket is shut down: whatever has come in is one batch, its replies another. Names that are
/// known are answered on the spot, without a lock, without memory of their own and without a task.
fn serve(socket: &Arc<UdpSocket>, number: usize, shared: &SharedPlan, tasks: &Handle, pktinfo: bool) {
    let mut batch = Batch::new(pktinfo);
    let mut answered: Vec<(usize, Summary, Client)> = Vec::with_capacity(BATCH);
    let places = Arc::new(Semaphore::new(WAITING));
    let (mut plan, mut generation) = (shared.plan(), shared.generation());
    loop {
        let count = match batch.receive(socket.as_fd()) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => {
                tracing::warn!(%error, "DNS queries could not be received");
                std::thread::sleep(PAUSE);
                continue;
            }
        };
        if shared.generation() != generation {
            (generation, plan) = (shared.generation(), shared.plan());
        }
        let begun = plan.counts().then(Instant::now);
        answered.clear();
        for at in 0..count {
            let Some((datagram, reply)) = batch.datagram(at) else { continue };
            let client = Client::of(datagram.client, Transport::Udp);
            let summary = plan.begin(datagram.packet, client, reply);
            match summary.action {
                Action::Drop => {}
                Action::Reply => {
                    batch.queue(at);
                    answered.push((at, summary, client));
                }
                Action::Wait => {
                    let Ok(place) = places.clone().try_acquire_owned() else { continue };
                    let packet = datagram.packet.to_vec();
                    let (plan, socket, path) = (plan.clone(), socket.clone(), batch.path(at));
                    tasks.spawn(async move {
                        let (begun, mut reply) = (Instant::now(), Vec::new());
                        plan.finish(&packet, client, &mut reply).await;
                        plan.count(0, &summary, client, (&packet, &reply), begun.elapsed());
                        send(&socket, path, &reply);
                        drop(place);
                    });
                }
            }
        }
        if let Some(begun) = begun.filter(|_| !answered.is_empty()) {
            // A look at the clock is no small part of an answer, so each has its share of the batch's time.
            let took = begun.elapsed() / answered.len() as u32;
            for (at, summary, client) in &answered {
                plan.count(number, summary, *client, batch.exchange(*at), took);
            }
        }
        batch.send(socket.as_fd());
    }
}

fn send(socket: &UdpSocket, mut path: ReplyPath, reply: &[u8]) {
    if reply.is_empty() {
        return;
    }
    if let Err(error) = path.reply(socket.as_fd(), reply) {
        // The client is gone or never was; it will ask again if it is there.
        tracing::debug!(%error, "a DNS reply could not be sent");
    }
}
