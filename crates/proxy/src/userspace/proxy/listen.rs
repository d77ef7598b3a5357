//! Sockets that clients come to, of one family each.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

/// How many clients may wait to be let in; the kernel's `net.core.somaxconn` may say less.
const BACKLOG: i32 = 4096;

/// A TCP listener; port 0 stands for any that is free.
///
/// # Errors
/// Those of bind(2).
pub(crate) fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address, SocketType::STREAM)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// A UDP socket; port 0 stands for any that is free.
///
/// # Errors
/// Those of bind(2).
pub(crate) fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    Ok(bound(address, SocketType::DGRAM)?.into())
}

fn bound(address: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    if kind == SocketType::STREAM {
        // Connections of an earlier process may linger at the port.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    if address.is_ipv6() {
        // The other family has a socket of its own.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &address)?;
    Ok(socket)
}
