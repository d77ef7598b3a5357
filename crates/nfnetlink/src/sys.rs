//! The socket options of `AF_NETLINK` that rustix does not offer.
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

/// Asks the kernel for its own words on errors, and not to send the refused message back.
///
/// # Errors
/// The kernel's error; kernels before 4.12 know neither option.
pub(crate) fn ask_for_short_errors_with_words(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    for option in [libc::NETLINK_CAP_ACK, libc::NETLINK_EXT_ACK] {
        let on: libc::c_int = 1;
        // SAFETY: the descriptor is open for the length of the borrow, and the kernel reads `size_of(on)`
        // bytes of `on` and keeps no pointer.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_NETLINK,
                option,
                std::ptr::from_ref(&on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        if result != 0 {
            return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL));
        }
    }
    Ok(())
}
