//! Sockets that hear what happens to the tables and to packets, without asking.

mod monitor;
mod trace;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, bind, getsockname, netlink as rustix_netlink, recv,
    socket_with, sockopt,
};

use crate::error::Error;
use crate::sys;

pub use monitor::{ForeignChange, Monitor, Object};
pub use trace::{Headers, TraceEvent, TraceKind, Tracer};

/// Receive buffer in bytes: room for what others do while nobody reads.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Bytes taken from the socket at once.
const DATAGRAM: usize = 1 << 16;

/// A non-blocking socket that hears of the groups which it subscribes to, in the network namespace it was opened in.
#[derive(Debug)]
struct Listener {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Listener {
    /// A socket without a subscription. Messages that `ignored` sockets caused are dropped by the kernel.
    fn open(ignored: &[u32]) -> Result<Self, Error> {
        let open = || {
            let fd = socket_with(
                AddressFamily::NETLINK,
                SocketType::RAW,
                SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
                Some(rustix_netlink::NETFILTER),
            )?;
            sys::drop_messages_of(fd.as_fd(), ignored)?;
            let _ = sockopt::set_socket_recv_buffer_size_force(&fd, RECEIVE_BUFFER);
            bind(&fd, &rustix_netlink::SocketAddrNetlink::new(0, 0))?;
            Ok(fd)
        };
        Ok(Self { fd: open().map_err(Error::Open)?, buffer: vec![0; DATAGRAM] })
    }

    /// Hears from now on what is told to the group.
    fn subscribe(&self, group: u32) -> Result<(), Error> {
        let subscribe = || {
            let address = rustix_netlink::SocketAddrNetlink::try_from(getsockname(&self.fd)?)?;
            bind(&self.fd, &rustix_netlink::SocketAddrNetlink::new(address.pid(), 1 << (group - 1)))
        };
        subscribe().map_err(Error::Open)
    }

    /// The next datagram.
    ///
    /// # Errors
    /// [`Error::Receive`] for errors of the socket.
    fn next(&mut self) -> Result<Heard<'_>, Error> {
        loop {
            match recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok((length, _)) => return Ok(Heard::Datagram(&self.buffer[..length])),
                Err(Errno::AGAIN) => return Ok(Heard::Nothing),
                Err(Errno::NOBUFS) => return Ok(Heard::Lost),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::Receive(errno)),
            }
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What a listener heard.
#[derive(Debug)]
enum Heard<'a> {
    Datagram(&'a [u8]),
    /// Nothing waits.
    Nothing,
    /// The kernel had more to say than fits the socket's buffer.
    Lost,
}
