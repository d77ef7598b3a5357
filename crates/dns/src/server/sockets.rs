//! Opening the sockets of a configuration.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;

use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};

use crate::config::{Config, Scheme};
use crate::error::Error;
use crate::sys;

/// The most connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// The size of the receive buffer of a datagram socket, in bytes. The kernel may allow less.
const RECEIVE: usize = 4 << 20;

/// The sockets of one address and port, for one scheme.
#[derive(Debug)]
pub(crate) struct OpenSockets {
    pub(crate) scheme: Scheme,
    pub(crate) address: SocketAddr,
    /// The sockets that share the datagrams; none for DNS over TLS and HTTPS.
    pub(crate) udp: Vec<UdpSocket>,
    pub(crate) tcp: TcpListener,
}

impl OpenSockets {
    /// The scheme and the address.
    pub(crate) fn port(&self) -> (Scheme, SocketAddr) {
        (self.scheme, self.address)
    }
}

/// The sockets of a configuration, open in the network namespace in which [`Sockets::open`] was called.
#[derive(Debug)]
pub struct Sockets {
    pub(crate) open: Vec<OpenSockets>,
    /// Whether they serve all blocks, whatever these listen on.
    pub(crate) fixed: bool,
}

impl Sockets {
    /// Opens the sockets of a configuration.
    ///
    /// # Errors
    /// [`Error::Bind`] with the address that cannot be listened on.
    pub fn open(config: &Config) -> Result<Self, Error> {
        Self::beside(config, &[])
    }

    /// Opens the sockets of a configuration, except those that this process has already, which are `held`.
    ///
    /// # Errors
    /// As [`Sockets::open`].
    pub(crate) fn beside(config: &Config, held: &[(Scheme, SocketAddr)]) -> Result<Self, Error> {
        let mut open: Vec<OpenSockets> = Vec::new();
        for block in &config.blocks {
            for served in &block.served {
                let count = block.plugins.sockets.unwrap_or_else(processors);
                for address in addresses(&block.plugins.bind.addresses, served.port) {
                    let opened = open.iter().map(|open| (open.scheme, open.address));
                    let ours: Vec<_> = held.iter().copied().chain(opened).collect();
                    if ours.contains(&(served.scheme, address)) {
                        continue;
                    }
                    let port = match ours.iter().any(|(_, ours)| ours.port() == address.port()) {
                        true => PortUse::Ours,
                        false => PortUse::New,
                    };
                    match open_at(served.scheme, address, count, Transparent::of(address), port) {
                        Ok(one) => open.push(one),
                        // The machine may have no IPv6.
                        Err(error)
                            if block.plugins.bind.addresses.is_empty()
                                && address.is_ipv6()
                                && no_family(&error) => {}
                        Err(source) => return Err(Error::Bind { address, source }),
                    }
                }
            }
        }
        Ok(Self { open, fixed: false })
    }

    /// No sockets; others can be added. They serve all blocks.
    pub fn none() -> Self {
        Self { open: Vec::new(), fixed: true }
    }

    /// Adds other sockets.
    pub fn add(&mut self, others: Self) {
        self.open.extend(others.open);
    }

    /// Opens sockets at the ClusterIP of the cluster DNS, an address that the machine does not have. As long as they
    /// are open, the proxy hands them the packets to that address. They serve all blocks.
    ///
    /// # Errors
    /// [`Error::Bind`] when the address cannot be listened on; with `EPERM` without `CAP_NET_ADMIN`.
    pub fn of_service(address: SocketAddr) -> Result<Self, Error> {
        let open = open_at(Scheme::Dns, address, processors(), Transparent::Required, PortUse::New)
            .map_err(|source| Error::Bind { address, source })?;
        Ok(Self { open: vec![open], fixed: true })
    }

    /// Takes sockets that are already open, at one address for UDP and TCP. They serve all blocks.
    ///
    /// # Errors
    /// When the kernel does not accept the sockets.
    pub fn of(udp: UdpSocket, tcp: TcpListener) -> io::Result<Self> {
        let address = udp.local_addr()?;
        if address.ip().is_unspecified() {
            sys::set_pktinfo(udp.as_fd(), address.is_ipv6())?;
        }
        let open = vec![OpenSockets { scheme: Scheme::Dns, address, udp: vec![udp], tcp }];
        Ok(Self { open, fixed: true })
    }
}

/// The addresses that a block listens on.
pub(crate) fn addresses(bind: &[IpAddr], port: u16) -> impl Iterator<Item = SocketAddr> {
    let any = [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
    let all = if bind.is_empty() { any.to_vec() } else { bind.to_vec() };
    all.into_iter().map(move |address| SocketAddr::new(address, port))
}

/// The number of sockets that share the datagrams to an address, unless it is configured: one for each processor.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn no_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

/// Whether the sockets are transparent (`IP_TRANSPARENT`), so that they may have an address that the machine does not
/// have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transparent {
    /// They must be.
    Required,
    /// They are if this process may make them so.
    IfAllowed,
    /// They are not: the machine surely has the address.
    No,
}

impl Transparent {
    fn of(address: SocketAddr) -> Self {
        let own = address.ip().is_unspecified() || address.ip().is_loopback();
        if own { Self::No } else { Self::IfAllowed }
    }
}

/// Whether this process already has sockets with the same port at another address. One address may include the other,
/// as 0.0.0.0 includes 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PortUse {
    New,
    Ours,
}

/// Opens the sockets of an address. Fails if another process listens there: the kernel would give it some of the
/// queries.
fn open_at(
    scheme: Scheme,
    address: SocketAddr,
    count: usize,
    transparent: Transparent,
    port: PortUse,
) -> io::Result<OpenSockets> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let open = |kind| -> io::Result<_> {
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
        if address.is_ipv6() {
            set_ipv6_v6only(&socket, true)?;
        }
        if transparent != Transparent::No {
            let allowed = sys::set_transparent(socket.as_fd(), address.is_ipv6());
            allowed
                .or_else(|error| if transparent == Transparent::Required { Err(error) } else { Ok(()) })?;
        }
        Ok(socket)
    };
    let tcp = open(SocketType::STREAM)?;
    set_socket_reuseaddr(&tcp, true)?;
    set_socket_reuseport(&tcp, port == PortUse::Ours)?;
    bind(&tcp, &address)?;
    let mut udp = Vec::new();
    let datagrams = if scheme == Scheme::Dns { count } else { 0 };
    for _ in 0..datagrams {
        let socket = open(SocketType::DGRAM)?;
        set_socket_reuseport(&socket, true)?;
        // If this fails, a burst of queries is lost sooner; that is no reason to stop.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, RECEIVE);
        if address.ip().is_unspecified() {
            sys::set_pktinfo(socket.as_fd(), address.is_ipv6())?;
        }
        bind(&socket, &address)?;
        udp.push(UdpSocket::from(socket));
    }
    listen(&tcp, BACKLOG)?;
    // From now on, other sockets of this process may have the same port.
    set_socket_reuseport(&tcp, true)?;
    Ok(OpenSockets { scheme, address, udp, tcp: TcpListener::from(tcp) })
}
