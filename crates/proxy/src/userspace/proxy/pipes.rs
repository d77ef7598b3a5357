//! Bytes from one socket to another inside the kernel (splice(2)).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use rustix::net::Shutdown;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// How many bytes are moved at once at most. The kernel gives pipes of this size as long as it has enough room for
/// pipes; the usual ones hold a quarter of it (pipe(7)).
const CHUNK: usize = 256 * 1024;
/// How many unused pipes are kept.
const IDLE: usize = 64;

/// Pipes for bytes on their way. A connection has one only while it has bytes to move.
#[derive(Debug, Default)]
pub(super) struct Pipes(Mutex<Vec<Pipe>>);

/// A pipe without bytes in it.
#[derive(Debug)]
struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
}

impl Pipes {
    fn take(&self) -> io::Result<Pipe> {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(pipe) = idle {
            return Ok(pipe);
        }
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A smaller pipe takes more turns.
        let _ = fcntl_setpipe_size(&into, CHUNK);
        Ok(Pipe { out, into })
    }

    fn give(&self, pipe: Pipe) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE {
            idle.push(pipe);
        }
    }

    /// Joins two connections until both directions have ended, each by itself.
    ///
    /// # Errors
    /// That of the first direction to fail.
    pub(super) async fn join(&self, one: &TcpStream, other: &TcpStream) -> io::Result<()> {
        tokio::try_join!(self.flow(one, other), self.flow(other, one))?;
        Ok(())
    }

    /// One direction. A reader that is slow makes the writer wait: nothing is read before the last chunk is gone.
    async fn flow(&self, from: &TcpStream, to: &TcpStream) -> io::Result<()> {
        loop {
            from.readable().await?;
            let pipe = self.take()?;
            let moved = from.try_io(Interest::READABLE, || shift(from, &pipe.into, CHUNK));
            match moved {
                Ok(0) => {
                    self.give(pipe);
                    return Ok(rustix::net::shutdown(to, Shutdown::Write)?);
                }
                Ok(mut left) => {
                    while left > 0 {
                        left -= to.async_io(Interest::WRITABLE, || shift(&pipe.out, to, left)).await?;
                    }
                    self.give(pipe);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.give(pipe),
                Err(error) => return Err(error),
            }
        }
    }
}

fn shift(from: impl std::os::fd::AsFd, to: impl std::os::fd::AsFd, bytes: usize) -> io::Result<usize> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        match splice(&from, None, &to, None, bytes, flags) {
            Err(rustix::io::Errno::INTR) => {}
            moved => return Ok(moved?),
        }
    }
}
