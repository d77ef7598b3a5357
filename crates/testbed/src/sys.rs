//! The one call that the safe libraries mark unsafe.

#![allow(unsafe_code)]

use std::io;

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Moves the calling thread into a new network namespace.
pub(crate) fn unshare_network() -> io::Result<()> {
    // SAFETY: the call is unsafe because of CLONE_FILES, which would take file descriptors away from
    // under their owners. CLONE_NEWNET alone leaves them as they are.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(Into::into)
}
