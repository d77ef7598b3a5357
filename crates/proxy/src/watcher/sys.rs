//! Registering a descriptor with the runtime.

#![allow(unsafe_code)]

use std::io;

use nfnetlink::Monitor;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Has the runtime of the calling task watch for what the monitor can read.
///
/// # Errors
/// Those of epoll.
pub(super) fn watch(monitor: Monitor) -> io::Result<AsyncFd<Monitor>> {
    // SAFETY: the monitor owns its descriptor, always gives the same one, and keeps it open until it is dropped;
    // nobody outside this module gets it out of the `AsyncFd`.
    Ok(unsafe { AsyncFd::register_with_interest(monitor, Interest::READABLE) }?)
}
