//! A socket option that no safe interface has.
#![allow(unsafe_code)]

use std::os::fd::AsRawFd;

/// Lets a socket be bound to any IPv4 address (`IP_TRANSPARENT`).
pub(crate) fn set_transparent(socket: &impl AsRawFd) {
    let on: libc::c_int = 1;
    // SAFETY: the option takes a number, and its length is given.
    let result = unsafe {
        let length = std::mem::size_of_val(&on) as libc::socklen_t;
        let value = (&raw const on).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_IP, libc::IP_TRANSPARENT, value, length)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}
