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

/// Operations of classic BPF (`linux/bpf_common.h`).
const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
/// Offset of the port id in `struct nlmsghdr`.
const PORT: u32 = 12;

/// Makes the kernel drop messages to this socket that other sockets caused, by their port ids. All messages of a
/// datagram have the same cause.
///
/// # Errors
/// The kernel's error; `E2BIG` for more than 255 ports.
pub(crate) fn drop_messages_of(socket: BorrowedFd<'_>, ports: &[u32]) -> Result<(), Errno> {
    let Ok(count) = u8::try_from(ports.len()) else { return Err(Errno::TOOBIG) };
    if count == 0 {
        return Ok(());
    }
    let operation = |code, jt, k| libc::sock_filter { code, jt, jf: 0, k };
    let mut program = vec![operation(LOAD_WORD, 0, PORT)];
    for (number, port) in (0..count).zip(ports) {
        // The word is loaded as if it were in network order. A match jumps over the tests that follow and
        // over the return that keeps the message.
        program.push(operation(JUMP_IF_EQUAL, count - number, u32::from_be_bytes(port.to_ne_bytes())));
    }
    program.push(operation(RETURN, 0, u32::MAX));
    program.push(operation(RETURN, 0, 0));
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the descriptor is open for the length of the borrow; the kernel copies the `len` operations that
    // `filter` points to, which live until the end of this function, and keeps no pointer.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            std::ptr::from_ref(&filter).cast(),
            size_of_val(&filter) as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}
