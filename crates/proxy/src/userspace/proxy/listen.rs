//! Sockets that clients come to, of one family each.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

/// How many clients may wait to be let in; the kernel's `net.core.somaxconn` may say less.
const BACKLOG: i32 = 4096;

/// A TCP listener; port 0 stands for any that is free.
///
/// # Errors
/// Those of bind(2).
pub(crate) fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = unbound(address, SocketType::STREAM)?;
    // Connections of an earlier process may linger at the port.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// A UDP socket; port 0 stands for any that is free.
///
/// # Errors
/// Those of bind(2).
pub(crate) fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = unbound(address, SocketType::DGRAM)?;
    bind(&socket, &address)?;
    Ok(socket.into())
}

/// A UDP socket at the port of another one, which is at all addresses. Packets to this address come here.
///
/// # Errors
/// Those of bind(2).
pub(crate) fn udp_beside(other: &UdpSocket, address: IpAddr) -> io::Result<UdpSocket> {
    let address = SocketAddr::new(address, other.local_addr()?.port());
    let socket = unbound(address, SocketType::DGRAM)?;
    // Both must say so. The other says it late: no port is free to two that said so early.
    sockopt::set_socket_reuseaddr(other, true)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    Ok(socket.into())
}

fn unbound(address: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    if address.is_ipv6() {
        // The other family has a socket of its own.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    Ok(socket)
}
