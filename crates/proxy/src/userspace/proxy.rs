//! The proxy itself: connections in at a proxy port, out to an endpoint. It knows nothing of rules or Services.
//!
//! All connections are served on one thread, which stays in the network namespace it was started from. A
//! [`Pool`] says which endpoints a proxy port leads to; whoever holds it may change that at any time.

mod affinity;
mod dial;
mod file_limit;
pub(crate) mod listen;
mod listener_counts;
mod pipes;
mod pool;
mod tcp;
mod udp;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

pub(crate) use listener_counts::{ListenerCounts, Listeners};
pub(crate) use pool::{Behind, Pool};

use file_limit::{FileLimit, Permit};
use pipes::Pipes;

/// The thread that serves connections. They end with it.
#[derive(Debug)]
pub(crate) struct Proxy {
    runtime: Handle,
    shared: Arc<Shared>,
    /// Dropped to end the thread at once, used to end it with its last connection.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What all proxy ports have in common.
#[derive(Debug)]
struct Shared {
    file_limit: FileLimit,
    pipes: Pipes,
}

/// An open proxy port. It closes when this is dropped; TCP connections that came in by it go on.
#[derive(Debug)]
pub(crate) struct Serving {
    task: AbortHandle,
    _permit: Option<Permit>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Starts the thread in the network namespace of the calling one.
    ///
    /// # Errors
    /// Those of making a thread and what it waits with.
    pub(crate) fn start() -> io::Result<Self> {
        Self::with(FileLimit::of_process())
    }

    fn with(file_limit: FileLimit) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        // The runtime is made and dropped on its own thread, as the calling one may belong to another runtime.
        let shared = Arc::new(Shared { file_limit, pipes: Pipes::default() });
        let served = shared.clone();
        let serve = move || match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                // Whoever asked waits for this.
                let _ = tell.send(Ok(runtime.handle().clone()));
                runtime.block_on(async {
                    if stopped.await.is_ok() {
                        served.file_limit.all_given_back().await;
                    }
                });
            }
            Err(error) => {
                let _ = tell.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("userspace-proxy".to_owned()).spawn(serve)?;
        let runtime = told.recv().map_err(io::Error::other)??;
        Ok(Self { runtime, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Serves TCP connections at a listener.
    ///
    /// # Errors
    /// Those of a socket that cannot be waited for, and of a process that may open no more files.
    pub(crate) fn serve_tcp(&self, listener: TcpListener, pool: Arc<Pool>) -> io::Result<Serving> {
        listener.set_nonblocking(true)?;
        let permit = self.permit()?;
        let _inside = self.runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let task = self.runtime.spawn(tcp::serve(listener, pool, self.shared.clone()));
        Ok(Serving { task: task.abort_handle(), _permit: Some(permit) })
    }

    /// Serves TCP connections at an address as soon as nobody else does, which is logged.
    pub(crate) fn serve_tcp_at(
        &self,
        address: SocketAddr,
        pool: Arc<Pool>,
        listeners: &Arc<Listeners>,
    ) -> Serving {
        let serve = tcp::serve_at(address, pool, self.shared.clone(), listeners.clone());
        let task = self.runtime.spawn(serve);
        Serving { task: task.abort_handle(), _permit: None }
    }

    /// Serves UDP at a socket. Answers leave from its address, so it must be bound to that which clients' packets
    /// are sent on to.
    ///
    /// # Errors
    /// As [`Proxy::serve_tcp`].
    pub(crate) fn serve_udp(&self, socket: UdpSocket, pool: Arc<Pool>) -> io::Result<Serving> {
        socket.set_nonblocking(true)?;
        let permit = self.permit()?;
        let _inside = self.runtime.enter();
        let socket = tokio::net::UdpSocket::from_std(socket)?;
        let task = self.runtime.spawn(udp::serve(socket, pool, self.shared.clone()));
        Ok(Serving { task: task.abort_handle(), _permit: Some(permit) })
    }

    /// Lets connections go on while the process does; the thread ends with the last of them. All proxy ports must be closed.
    pub(crate) fn retire(mut self) {
        if let Some(stop) = self.stop.take() {
            // A thread that ended needs not be told.
            let _ = stop.send(());
        }
        self.thread.take();
    }

    fn permit(&self) -> io::Result<Permit> {
        self.shared.file_limit.take(1).ok_or_else(|| io::Error::from(rustix::io::Errno::MFILE))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // It does not panic; if it did, there is nothing left of it to end.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
