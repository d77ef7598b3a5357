//! DNS over UDP.

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

/// The pause after the socket could not be read, so that the loop does not use the whole processor.
const PAUSE: Duration = Duration::from_millis(10);
/// The most queries of a socket that wait for others, which bounds memory. More are not answered; their clients ask
/// again.
const WAITING: usize = 16_384;
/// The stack of a thread, in bytes.
const STACK: usize = 256 * 1024;

/// A thread that answers the datagrams to a socket.
#[derive(Debug)]
pub(crate) struct Worker {
    socket: Arc<UdpSocket>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread for a socket. Its queries are counted under `number`, which is at least 1. Queries that wait
    /// for others become tasks of `tasks`.
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
    /// Ends the thread after the datagrams that have already come. The socket is connected to itself first, so that it
    /// accepts no datagrams of clients any more: those go to other sockets of this process whose address includes this
    /// one.
    fn drop(&mut self) {
        let _ = self.socket.local_addr().and_then(|own| {
            let own = match own.ip() {
                IpAddr::V4(any) if any.is_unspecified() => (Ipv4Addr::LOCALHOST, own.port()).into(),
                IpAddr::V6(any) if any.is_unspecified() => (Ipv6Addr::LOCALHOST, own.port()).into(),
                _ => own,
            };
            self.socket.connect(own)
        });
        // The kernel reports that the socket is not connected, but wakes the thread that waits in `recvmmsg`.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Read);
        if let Some(thread) = self.thread.take() {
            // If the thread panicked, that was already reported.
            let _ = thread.join();
        }
    }
}

/// Answers until the socket is shut down. One system call receives all datagrams that wait, and another sends their
/// replies. Known names are answered at once: without a lock, without allocating memory and without a task.
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
            // Reading the clock takes a good part of the time of an answer, so each answer counts an equal share of
            // the time of its batch.
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
        // The client is gone, or its address was forged. A real client asks again.
        tracing::debug!(%error, "a DNS reply could not be sent");
    }
}
