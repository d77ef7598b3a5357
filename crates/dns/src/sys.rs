//! Receiving and sending many datagrams in one system call, each with its destination address.
#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_void, iovec, mmsghdr, msghdr, sockaddr_in, sockaddr_in6, sockaddr_storage};

/// The most datagrams in one system call.
pub(crate) const BATCH: usize = 32;
/// The size of the buffer of a datagram, in bytes. A longer datagram is cut off, and then cannot be read as a message.
const ROOM: usize = 4096;
/// The size of the buffer of the control message with the destination address, in bytes.
const CONTROL: usize = 64;

/// The buffers of a batch of datagrams and their replies. They are allocated once and used again. They contain
/// pointers to each other, so they are boxed and stay in their place.
pub(crate) struct Batch {
    packets: Box<[[u8; ROOM]]>,
    names: Box<[sockaddr_storage]>,
    controls: Box<[Control]>,
    headers: Box<[mmsghdr]>,
    vectors: Box<[iovec]>,
    replies: Box<[Vec<u8>]>,
    outgoing: Box<[mmsghdr]>,
    parts: Box<[iovec]>,
    /// The number of replies that are queued.
    pending: usize,
    /// Whether the socket gives the destination address of each datagram (`IP_PKTINFO`), which is needed at sockets
    /// for all addresses.
    pktinfo: bool,
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// A datagram of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Datagram<'a> {
    /// Its contents.
    pub(crate) packet: &'a [u8],
    /// The address of its sender.
    pub(crate) client: SocketAddr,
}

impl Batch {
    /// Allocates the buffers. `pktinfo` says whether [`set_pktinfo`] was called for the socket.
    pub(crate) fn new(pktinfo: bool) -> Self {
        // SAFETY: these are plain data of C, for which zero is a valid value.
        let (name, header, vector) = unsafe {
            (
                MaybeUninit::<sockaddr_storage>::zeroed().assume_init(),
                MaybeUninit::<mmsghdr>::zeroed().assume_init(),
                MaybeUninit::<iovec>::zeroed().assume_init(),
            )
        };
        let mut batch = Self {
            packets: vec![[0; ROOM]; BATCH].into(),
            names: vec![name; BATCH].into(),
            controls: vec![Control([0; CONTROL]); BATCH].into(),
            headers: vec![header; BATCH].into(),
            vectors: vec![vector; BATCH].into(),
            replies: (0..BATCH).map(|_| Vec::with_capacity(ROOM)).collect(),
            outgoing: vec![header; BATCH].into(),
            parts: vec![vector; BATCH].into(),
            pending: 0,
            pktinfo,
        };
        for at in 0..BATCH {
            batch.vectors[at] =
                iovec { iov_base: batch.packets[at].as_mut_ptr().cast(), iov_len: batch.packets[at].len() };
            let header = &mut batch.headers[at].msg_hdr;
            header.msg_name = (&raw mut batch.names[at]).cast();
            header.msg_iov = &raw mut batch.vectors[at];
            header.msg_iovlen = 1;
            header.msg_control = batch.controls[at].0.as_mut_ptr().cast();
        }
        batch
    }

    /// Waits for datagrams. Returns how many came; 0 when the socket was shut down.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        for header in &mut self.headers {
            header.msg_hdr.msg_namelen = size_of::<sockaddr_storage>() as u32;
            header.msg_hdr.msg_controllen = if self.pktinfo { CONTROL as _ } else { 0 };
            header.msg_hdr.msg_flags = 0;
        }
        self.pending = 0;
        // SAFETY: each header points at memory of this batch, of the length that it says.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_WAITFORONE as _,
                std::ptr::null_mut(),
            )
        };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        // A socket that is shut down gives one empty message without a sender.
        let count = count as usize;
        let ended = count > 0 && self.headers[0].msg_hdr.msg_namelen == 0;
        Ok(if ended { 0 } else { count })
    }

    /// A datagram that came, and an empty buffer for its reply. `None` if the sender has no IP address.
    pub(crate) fn datagram(&mut self, at: usize) -> Option<(Datagram<'_>, &mut Vec<u8>)> {
        let client = address(&self.names[at])?;
        let length = (self.headers[at].msg_len as usize).min(ROOM);
        let datagram = Datagram { packet: &self.packets[at][..length], client };
        let reply = &mut self.replies[at];
        reply.clear();
        Some((datagram, reply))
    }

    /// A datagram that came, and the reply that was written.
    pub(crate) fn exchange(&self, at: usize) -> (&[u8], &[u8]) {
        let length = (self.headers[at].msg_len as usize).min(ROOM);
        (&self.packets[at][..length], &self.replies[at])
    }

    /// Queues the reply to a datagram. Its source is the address that the datagram was sent to.
    pub(crate) fn queue(&mut self, at: usize) {
        let reply = &mut self.replies[at];
        self.parts[self.pending] = iovec { iov_base: reply.as_mut_ptr().cast(), iov_len: reply.len() };
        // The control message of the datagram is sent with the reply, without the interface.
        let length = if self.pktinfo { forget_interface(&self.headers[at].msg_hdr) } else { 0 };
        let incoming = self.headers[at].msg_hdr;
        let header = &mut self.outgoing[self.pending].msg_hdr;
        header.msg_name = incoming.msg_name;
        header.msg_namelen = incoming.msg_namelen;
        header.msg_iov = &raw mut self.parts[self.pending];
        header.msg_iovlen = 1;
        header.msg_control = if length == 0 { std::ptr::null_mut() } else { incoming.msg_control };
        header.msg_controllen = length as _;
        self.pending += 1;
    }

    /// Sends the queued replies. A reply that cannot be sent is left out: its client is gone, or asks again.
    pub(crate) fn send(&mut self, socket: BorrowedFd<'_>) {
        let mut done = 0;
        while done < self.pending {
            let left = &mut self.outgoing[done..self.pending];
            // SAFETY: each header points at memory of this batch, of the length that it says.
            let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), left.as_mut_ptr(), left.len() as u32, 0) };
            let interrupted = sent < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted;
            done += if interrupted { 0 } else { sent.max(1) as usize };
        }
        self.pending = 0;
    }
}

/// The address in a C structure; `None` if it is no IP address.
fn address(name: &sockaddr_storage) -> Option<SocketAddr> {
    match c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is what the storage holds.
            let v4 = unsafe { *(&raw const *name).cast::<sockaddr_in>() };
            let address = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(address, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is what the storage holds.
            let v6 = unsafe { *(&raw const *name).cast::<sockaddr_in6>() };
            let address = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(
                SocketAddrV6::new(address, u16::from_be(v6.sin6_port), v6.sin6_flowinfo, v6.sin6_scope_id)
                    .into(),
            )
        }
        _ => None,
    }
}

/// Changes the control message of a datagram so that it can be sent with the reply: the source is the same address,
/// and the kernel chooses the interface. Returns its length.
fn forget_interface(header: &msghdr) -> usize {
    // SAFETY: the control messages lie in memory of the batch that nobody else refers to at this time.
    unsafe {
        let Some(message) = libc::CMSG_FIRSTHDR(header).as_mut() else { return 0 };
        let data = libc::CMSG_DATA(message);
        match (message.cmsg_level, message.cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let mut info = data.cast::<libc::in_pktinfo>().read_unaligned();
                (info.ipi_ifindex, info.ipi_spec_dst) = (0, info.ipi_addr);
                data.cast::<libc::in_pktinfo>().write_unaligned(info);
                libc::CMSG_SPACE(size_of::<libc::in_pktinfo>() as u32) as usize
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let mut info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                // A link-local address needs its interface.
                if !Ipv6Addr::from(info.ipi6_addr.s6_addr).is_unicast_link_local() {
                    info.ipi6_ifindex = 0;
                }
                data.cast::<libc::in6_pktinfo>().write_unaligned(info);
                libc::CMSG_SPACE(size_of::<libc::in6_pktinfo>() as u32) as usize
            }
            _ => 0,
        }
    }
}

/// Has a socket give the destination address of each datagram (`IP_PKTINFO`).
pub(crate) fn set_pktinfo(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    let (level, option) = match v6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        false => (libc::IPPROTO_IP, libc::IP_PKTINFO),
    };
    turn_on(socket, level, option)
}

/// Makes a socket transparent (`IP_TRANSPARENT`): it can be bound to an address that the machine does not have, and
/// netfilter finds it by that. Needs `CAP_NET_ADMIN` or `CAP_NET_RAW`.
pub(crate) fn set_transparent(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    let (level, option) = match v6 {
        true => (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT),
        false => (libc::IPPROTO_IP, libc::IP_TRANSPARENT),
    };
    turn_on(socket, level, option)
}

fn turn_on(socket: BorrowedFd<'_>, level: c_int, option: c_int) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: the option takes a number, and its length is given.
    let result = unsafe {
        let value: *const c_void = (&raw const on).cast();
        libc::setsockopt(socket.as_raw_fd(), level, option, value, size_of::<c_int>() as u32)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The sender and the destination of a datagram, for a reply that is sent later.
#[derive(Clone)]
pub(crate) struct ReplyPath {
    name: sockaddr_storage,
    length: u32,
    control: Control,
    control_length: usize,
}

impl Batch {
    /// The sender and the destination of a datagram.
    pub(crate) fn path(&self, at: usize) -> ReplyPath {
        let header = &self.headers[at].msg_hdr;
        let control_length = if self.pktinfo { forget_interface(header) } else { 0 };
        ReplyPath {
            name: self.names[at],
            length: header.msg_namelen,
            control: self.controls[at],
            control_length,
        }
    }
}

impl ReplyPath {
    /// Sends a reply to the sender, from the destination.
    pub(crate) fn reply(&mut self, socket: BorrowedFd<'_>, packet: &[u8]) -> io::Result<()> {
        let mut part = iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: packet.len() };
        // SAFETY: plain data of C, for which zero is a valid value.
        let mut header: msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        header.msg_name = (&raw mut self.name).cast();
        header.msg_namelen = self.length;
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        if self.control_length > 0 {
            header.msg_control = self.control.0.as_mut_ptr().cast();
            header.msg_controllen = self.control_length as _;
        }
        // SAFETY: the header points at values that live until after the call, of the lengths that it says; the
        // kernel only reads them.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

// SAFETY: the pointers lead to memory that the batch owns.
unsafe impl Send for Batch {}

/// Counts the allocations of the calling thread, for tests.
#[cfg(test)]
pub(crate) mod allocations {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;

    thread_local! {
        static COUNT: Cell<usize> = const { Cell::new(0) };
        static HELD: Cell<isize> = const { Cell::new(0) };
    }

    struct Counting;

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    // SAFETY: everything is done by the system's allocator, with what the caller vouches for.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // A thread that is ending has no counter any more.
            let _ = COUNT.try_with(|count| count.set(count.get() + 1));
            let _ = HELD.try_with(|held| held.set(held.get() + layout.size() as isize));
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
            let _ = HELD.try_with(|held| held.set(held.get() - layout.size() as isize));
            unsafe { System.dealloc(memory, layout) }
        }
    }

    /// The bytes that this thread has allocated and not freed.
    pub(crate) fn held() -> isize {
        HELD.with(Cell::get)
    }

    /// The number of allocations of this thread.
    pub(crate) fn count() -> usize {
        COUNT.with(Cell::get)
    }
}
