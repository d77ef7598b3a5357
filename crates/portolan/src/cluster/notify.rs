//! Telling the service manager how the process is (sd_notify(3)).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Names the manager's socket.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Sends a state such as `READY=1`, if anyone wants to know.
pub(crate) fn send(state: &str) {
    let Some(path) = std::env::var_os(SOCKET) else { return };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&path),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::warn!(%error, socket = ?path, "the service manager could not be told {state}");
    }
}
