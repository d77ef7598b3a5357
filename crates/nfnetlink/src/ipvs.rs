//! Virtual servers of the kernel's IPVS, over generic netlink (`linux/ip_vs.h`).

mod message;

use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink as rustix_netlink;

use crate::error::{Error, Refusal};
use crate::socket::Socket;

/// What identifies a virtual server: the destination of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Front {
    /// Address and port.
    pub address: SocketAddr,
    /// Transport protocol number.
    pub protocol: u8,
}

/// How a virtual server shares connections out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sharing {
    /// The kernel's name of the scheduler, such as `rr`.
    pub scheduler: String,
    /// How long a client stays with its real server after the last connection ended, in whole seconds; `None`
    /// for no persistence.
    pub persistence: Option<Duration>,
    /// Whether hashing schedulers hash the client's port as well (`sh-port`, `mh-port`).
    pub hash_port: bool,
}

/// A virtual server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VirtualServer {
    /// The destination of its clients.
    pub front: Front,
    /// How connections are shared out.
    pub sharing: Sharing,
}

/// A server that connections are brought to, by translating addresses (masquerading, in IPVS's words).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RealServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share; 0 for no new connections.
    pub weight: u32,
}

/// A real server as the kernel has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldServer {
    /// The server.
    pub server: RealServer,
    /// Its connections, open ones and those that are ending.
    pub connections: u64,
}

/// After which idle time connections are forgotten, in whole seconds; zero leaves what is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timeouts {
    /// TCP.
    pub tcp: Duration,
    /// TCP after a FIN.
    pub tcp_fin: Duration,
    /// UDP.
    pub udp: Duration,
}

/// A socket for the IPVS of the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Ipvs {
    socket: Socket,
    /// The number that the kernel gave to the family of messages.
    family: u16,
}

impl Ipvs {
    /// Opens a socket. The kernel loads the module `ip_vs` if it has to and can.
    ///
    /// # Errors
    /// [`Error::Refused`] with `ENOENT` when the kernel has no IPVS.
    pub fn open() -> Result<Self, Error> {
        let mut socket = Socket::open_protocol(Some(rustix_netlink::GENERIC))?;
        let family = socket.query(&message::ask_family(), message::read_family);
        let family = family.map_err(|refused| refusal("look for IPVS".to_owned(), refused))?;
        Ok(Self { socket, family: family.ok_or(Error::Unanswered)? })
    }

    /// All virtual servers but those of firewall marks.
    ///
    /// # Errors
    /// [`Error::DumpDisturbed`] when they changed too often.
    pub fn virtual_servers(&mut self) -> Result<Vec<VirtualServer>, Error> {
        let family = self.family;
        self.socket.dump(|writer| message::list_services(writer, family), message::read_service)
    }

    /// The real servers of a virtual server.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is no such virtual server.
    pub fn real_servers(&mut self, front: &Front) -> Result<Vec<HeldServer>, Error> {
        let family = self.family;
        let read = |message: &crate::wire::Message<'_>| message::read_dest(message, front);
        self.socket.dump(|writer| message::list_dests(writer, family, front), read)
    }

    /// Adds a virtual server without real servers. The kernel loads the scheduler's module if it has to and can.
    ///
    /// # Errors
    /// [`Error::Refused`] with `EEXIST` when it is there, `ENOENT` when the kernel lacks the scheduler.
    pub fn add(&mut self, server: &VirtualServer) -> Result<(), Error> {
        self.service(message::Verb::New, server)
    }

    /// Changes how a virtual server shares connections out; its real servers stay.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is not there, or the kernel lacks the scheduler.
    pub fn set(&mut self, server: &VirtualServer) -> Result<(), Error> {
        self.service(message::Verb::Set, server)
    }

    /// Removes a virtual server with its real servers. One that is not there is no error.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn delete(&mut self, front: &Front) -> Result<(), Error> {
        let done = self.socket.request(&message::delete_service(self.family, front));
        unless_gone(done, || format!("delete virtual server {front}"))
    }

    fn service(&mut self, verb: message::Verb, server: &VirtualServer) -> Result<(), Error> {
        let message = message::service(self.family, verb, server);
        let what = || format!("{verb} virtual server {} with {}", server.front, server.sharing.scheduler);
        self.socket.request(&message).map_err(|refused| refusal(what(), refused))
    }

    /// Adds a real server to a virtual server.
    ///
    /// # Errors
    /// [`Error::Refused`] with `EEXIST` when it is there, `ESRCH` when there is no such virtual server.
    pub fn add_real(&mut self, front: &Front, server: &RealServer) -> Result<(), Error> {
        self.dest(message::Verb::New, front, server)
    }

    /// Changes the weight of a real server.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is not there.
    pub fn set_real(&mut self, front: &Front, server: &RealServer) -> Result<(), Error> {
        self.dest(message::Verb::Set, front, server)
    }

    /// Removes a real server. Its connections end with their next packet if `expire_nodest_conn` is set. One that is
    /// not there is no error.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn delete_real(&mut self, front: &Front, address: SocketAddr) -> Result<(), Error> {
        let done = self.socket.request(&message::delete_dest(self.family, front, address));
        unless_gone(done, || format!("delete real server {address} of {front}"))
    }

    fn dest(&mut self, verb: message::Verb, front: &Front, server: &RealServer) -> Result<(), Error> {
        let message = message::dest(self.family, verb, front, server);
        let what = || format!("{verb} real server {} of {front}", server.address);
        self.socket.request(&message).map_err(|refused| refusal(what(), refused))
    }

    /// The timeouts of the network namespace.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn timeouts(&mut self) -> Result<Timeouts, Error> {
        let read = self.socket.query(&message::ask_timeouts(self.family), message::read_timeouts);
        let read = read.map_err(|refused| refusal("read the timeouts of IPVS".to_owned(), refused))?;
        read.ok_or(Error::Unanswered)
    }

    /// Sets timeouts.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn set_timeouts(&mut self, timeouts: &Timeouts) -> Result<(), Error> {
        let done = self.socket.request(&message::set_timeouts(self.family, timeouts));
        done.map_err(|refused| refusal("set the timeouts of IPVS".to_owned(), refused))
    }
}

fn refusal(message: String, (errno, detail): (Errno, String)) -> Error {
    Error::Refused(vec![Refusal { message, errno, detail }])
}

/// The kernel says `ESRCH` for a virtual server and `ENOENT` for a real one that is not there.
fn unless_gone(done: Result<(), (Errno, String)>, what: impl FnOnce() -> String) -> Result<(), Error> {
    match done {
        Err((Errno::SRCH | Errno::NOENT, _)) => Ok(()),
        done => done.map_err(|refused| refusal(what(), refused)),
    }
}

impl std::fmt::Display for Front {
    /// Address, port and protocol, such as `10.96.0.1:443/tcp`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.protocol {
            6 => write!(f, "{}/tcp", self.address),
            17 => write!(f, "{}/udp", self.address),
            132 => write!(f, "{}/sctp", self.address),
            other => write!(f, "{}/{other}", self.address),
        }
    }
}
