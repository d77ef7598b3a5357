//! The socket that carries transactions to the kernel and dumps back.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, getsockname,
    netlink as rustix_netlink, recv, send, socket_with, sockopt,
};

use crate::batch::Batch;
use crate::error::{Error, Refusal};
use crate::sys;
use crate::uapi::netlink;
use crate::wire::{ATTRIBUTE, Attributes, HEADER, Message, Messages, Writer};

/// Smallest send buffer in bytes; bigger transactions raise it.
const SEND_BUFFER: usize = 1 << 20;
/// Receive buffer in bytes: room for the refusal of every message of a large transaction.
const RECEIVE_BUFFER: usize = 8 << 20;
/// Bytes taken from the socket at once. The kernel fills at most 32 KiB for a dump.
const DATAGRAM: usize = 1 << 16;
/// How often a dump that changes disturbed is tried again.
const DUMP_TRIES: usize = 8;
/// How often a transaction is tried again that the kernel could not finish for a passing reason.
const TRANSACTION_TRIES: usize = 4;

/// A netlink socket for netfilter.
///
/// It belongs to the network namespace of the thread that opened it and stays there, whatever thread uses
/// it later. All calls are synchronous: the kernel works inside the system call.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    buffer: Vec<u8>,
    send_buffer: usize,
    /// Transactions that the kernel took from this socket; the number wraps.
    commits: u32,
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`Error::Open`] when the kernel has no netfilter netlink.
    pub fn open() -> Result<Self, Error> {
        Self::open_protocol(Some(rustix_netlink::NETFILTER))
    }

    /// Opens a socket for another netlink protocol.
    ///
    /// # Errors
    /// [`Error::Open`] when the kernel does not have it.
    pub(crate) fn open_protocol(protocol: Option<Protocol>) -> Result<Self, Error> {
        let open = || {
            let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
            bind(&fd, &rustix_netlink::SocketAddrNetlink::new(0, 0))?;
            sys::ask_for_short_errors_with_words(fd.as_fd())?;
            // Without CAP_NET_ADMIN the buffer stays at the system's default, which serves small dumps.
            let _ = sockopt::set_socket_recv_buffer_size_force(&fd, RECEIVE_BUFFER);
            Ok(fd)
        };
        let fd = open().map_err(Error::Open)?;
        Ok(Self { fd, buffer: vec![0; DATAGRAM], send_buffer: 0, commits: 0 })
    }

    /// The number that changes made through this socket carry, so that a [`Monitor`](crate::Monitor) can tell
    /// them from others'.
    ///
    /// # Errors
    /// [`Error::Open`] when the kernel does not say.
    pub fn port(&self) -> Result<u32, Error> {
        let address = getsockname(&self.fd).map_err(Error::Open)?;
        let address = rustix_netlink::SocketAddrNetlink::try_from(address).map_err(Error::Open)?;
        Ok(address.pid())
    }

    /// Makes all changes of a transaction at once.
    ///
    /// # Errors
    /// [`Error::Refused`] names every message that the kernel refused; then nothing was changed.
    pub fn commit(&mut self, mut batch: Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let acknowledged = batch.len() as u32;
        batch.finish();
        let mut outcome = self.transact(&batch, acknowledged);
        for _ in 1..TRANSACTION_TRIES {
            if !interrupted(&outcome) {
                break;
            }
            outcome = self.transact(&batch, acknowledged);
        }
        if outcome.is_ok() {
            self.commits = self.commits.wrapping_add(1);
        }
        outcome
    }

    /// How many transactions of this socket the kernel took.
    pub(crate) fn commits(&self) -> u32 {
        self.commits
    }

    /// Sends the batch. The kernel handles it inside `send`, so its answers wait when that returns.
    fn transact(&mut self, batch: &Batch, acknowledged: u32) -> Result<(), Error> {
        self.drain();
        self.send(batch.bytes())?;
        let mut refusals = Vec::new();
        let mut done = false;
        loop {
            let length = match self.receive(RecvFlags::DONTWAIT) {
                Ok(length) => length,
                Err(Errno::AGAIN) => break,
                // Some answers were lost for want of room: those that fit say enough if any is a refusal.
                Err(Errno::NOBUFS) => continue,
                Err(errno) => return Err(Error::Receive(errno)),
            };
            for message in Messages::new(&self.buffer[..length]) {
                match answer(&message) {
                    Some(Ok(())) => done |= message.sequence == acknowledged,
                    Some(Err((errno, detail))) => {
                        refusals.push(Refusal { message: batch.describe(message.sequence), errno, detail });
                    }
                    None => {}
                }
            }
        }
        match (refusals.is_empty(), done) {
            (false, _) => Err(Error::Refused(refusals)),
            (true, true) => Ok(()),
            (true, false) => Err(Error::Unanswered),
        }
    }

    /// Sends a dump request and reads what comes, again from the start when the kernel says that the
    /// listed objects changed meanwhile.
    pub(crate) fn dump<T>(
        &mut self,
        request: impl Fn(&mut Writer),
        mut read: impl FnMut(&Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let mut writer = Writer::new();
        request(&mut writer);
        for _ in 0..DUMP_TRIES {
            self.drain();
            self.send(writer.bytes())?;
            if let Some(found) = self.read_dump(&mut read)? {
                return Ok(found);
            }
        }
        Err(Error::DumpDisturbed)
    }

    /// `None` when the dump was disturbed.
    fn read_dump<T>(
        &mut self,
        read: &mut impl FnMut(&Message<'_>) -> Option<T>,
    ) -> Result<Option<Vec<T>>, Error> {
        let mut found = Vec::new();
        let mut disturbed = false;
        loop {
            let length = match self.receive(RecvFlags::empty()) {
                Ok(length) => length,
                Err(Errno::NOBUFS) => return Ok(None),
                Err(errno) => return Err(Error::Receive(errno)),
            };
            for message in Messages::new(&self.buffer[..length]) {
                disturbed |= message.flags & netlink::NLM_F_DUMP_INTR != 0;
                match answer(&message) {
                    Some(Err((Errno::INTR, _))) => return Ok(None),
                    Some(Err((errno, detail))) => {
                        let message = "list".to_owned();
                        return Err(Error::Refused(vec![Refusal { message, errno, detail }]));
                    }
                    Some(Ok(())) => {}
                    None if message.kind == netlink::NLMSG_DONE => {
                        return Ok((!disturbed).then_some(found));
                    }
                    None => found.extend(read(&message)),
                }
            }
        }
    }

    /// Sends one message that asks for an acknowledgement and waits for it.
    pub(crate) fn request(&mut self, writer: &Writer) -> Result<(), (Errno, String)> {
        self.query(writer, |_| None::<()>).map(drop)
    }

    /// Sends one message that asks for an acknowledgement and reads what comes before that.
    pub(crate) fn query<T>(
        &mut self,
        writer: &Writer,
        mut read: impl FnMut(&Message<'_>) -> Option<T>,
    ) -> Result<Option<T>, (Errno, String)> {
        self.drain();
        self.send(writer.bytes()).map_err(|error| match error {
            Error::Send { errno, .. } => (errno, String::new()),
            other => (Errno::IO, other.to_string()),
        })?;
        let mut found = None;
        loop {
            let length = self.receive(RecvFlags::empty()).map_err(|errno| (errno, String::new()))?;
            for message in Messages::new(&self.buffer[..length]) {
                match answer(&message) {
                    Some(outcome) => return outcome.map(|()| found),
                    None => found = found.or_else(|| read(&message)),
                }
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let failed = |errno| Error::Send { bytes: bytes.len(), errno };
        // A batch is one datagram; the kernel doubles the size it is given.
        let wanted = bytes.len().max(SEND_BUFFER);
        if wanted > self.send_buffer {
            sockopt::set_socket_send_buffer_size_force(&self.fd, wanted).map_err(failed)?;
            self.send_buffer = wanted;
        }
        loop {
            match send(&self.fd, bytes, SendFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }

    fn receive(&mut self, flags: RecvFlags) -> Result<usize, Errno> {
        loop {
            match recv(&self.fd, self.buffer.as_mut_slice(), flags) {
                Ok((length, _)) => return Ok(length),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Throws away what an earlier, failed exchange left.
    fn drain(&mut self) {
        while matches!(self.receive(RecvFlags::DONTWAIT), Ok(_) | Err(Errno::NOBUFS)) {}
    }
}

/// Whether the kernel only asks to be asked again.
fn interrupted(outcome: &Result<(), Error>) -> bool {
    let Err(Error::Refused(refusals)) = outcome else { return false };
    refusals.iter().all(|refusal| refusal.errno == Errno::INTR)
}

/// Reads an `NLMSG_ERROR`: an acknowledgement, or an error with the kernel's words. `None` for others.
fn answer(message: &Message<'_>) -> Option<Result<(), (Errno, String)>> {
    if message.kind != netlink::NLMSG_ERROR {
        return None;
    }
    let code = i32::from_ne_bytes(message.payload.get(..4)?.try_into().ok()?);
    if code == 0 {
        return Some(Ok(()));
    }
    let errno = Errno::from_raw_os_error(code.wrapping_neg());
    Some(Err((errno, words(message).unwrap_or_default().to_owned())))
}

/// The text the kernel may add after the header, and maybe the body, of the message it refuses.
fn words<'a>(message: &Message<'a>) -> Option<&'a str> {
    if message.flags & netlink::NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let echoed = match message.flags & netlink::NLM_F_CAPPED {
        0 => u32::from_ne_bytes(message.payload.get(4..8)?.try_into().ok()?) as usize,
        _ => HEADER,
    };
    let attributes = message.payload.get(ATTRIBUTE + echoed..)?;
    Attributes::new(attributes).find(netlink::NLMSGERR_ATTR_MSG)?.string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_message_gives_errno_and_words() {
        let mut payload = (-17i32).to_ne_bytes().to_vec();
        payload.extend_from_slice(&[0; HEADER]);
        payload.extend_from_slice(b"\x09\x00\x01\x00busy\x00");
        let flags = netlink::NLM_F_CAPPED | netlink::NLM_F_ACK_TLVS;
        let message = Message { kind: netlink::NLMSG_ERROR, flags, sequence: 4, payload: &payload };
        assert_eq!(answer(&message), Some(Err((Errno::EXIST, "busy".into()))));
        let short = Message { payload: &payload[..2], ..message };
        assert_eq!(answer(&short), None, "a cut message is no answer");
    }
}
