//! Queries over TCP and TLS, on a connection that is kept (RFC 7766).

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::wire::{put_message, read_message};

/// The most queries that wait for replies on a connection.
const MOST_WAITING: usize = 1024;
/// The most replies to no query before a connection is closed.
const MOST_FOREIGN: usize = 64;

/// A query that waits for its reply.
#[derive(Debug)]
struct PendingQuery {
    packet: Vec<u8>,
    reply: oneshot::Sender<Vec<u8>>,
}

/// A connection that is opened when it is needed and kept for later queries. Several queries may be under way.
#[derive(Debug, Default)]
pub(super) struct Connection {
    line: tokio::sync::Mutex<Option<mpsc::Sender<PendingQuery>>>,
}

/// The queries that wait for replies, by id.
type Waiting = Mutex<HashMap<u16, oneshot::Sender<Vec<u8>>>>;

impl Connection {
    /// Sends a query and waits for the message with its id. `connect` opens the connection if there is none, and once
    /// more if a kept one turns out to be closed by the resolver. Returns whether the connection was open before.
    ///
    /// # Errors
    /// When a connection cannot be opened, or breaks.
    pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Send + 'static>(
        &self,
        packet: &[u8],
        expire: Duration,
        connect: impl Future<Output = io::Result<S>>,
    ) -> io::Result<(Vec<u8>, bool)> {
        // It is awaited at most once: after a connection was opened, the loop ends.
        let mut connect = std::pin::pin!(connect);
        loop {
            let (line, there) = {
                let mut line = self.line.lock().await;
                match line.as_ref().filter(|line| !line.is_closed()) {
                    Some(line) => (line.clone(), true),
                    None => {
                        let (queries, taken) = mpsc::channel(MOST_WAITING);
                        tokio::spawn(drive(connect.as_mut().await?, taken, expire));
                        (line.insert(queries).clone(), false)
                    }
                }
            };
            let (tell, told) = oneshot::channel();
            if line.send(PendingQuery { packet: packet.to_vec(), reply: tell }).await.is_ok()
                && let Ok(reply) = told.await
            {
                return Ok((reply, there));
            }
            if !there {
                let text = "the connection was closed before the reply";
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, text));
            }
            // The next turn opens a new connection, even if this one does not count as closed yet.
            let mut current = self.line.lock().await;
            if current.as_ref().is_some_and(|current| current.same_channel(&line)) {
                *current = None;
            }
        }
    }
}

/// Writes queries and hands out replies until the connection is no longer needed, the resolver closes it, or nothing
/// came for the time `expire`.
async fn drive<S: AsyncRead + AsyncWrite>(
    stream: S,
    mut queries: mpsc::Receiver<PendingQuery>,
    expire: Duration,
) {
    let (read, mut write) = tokio::io::split(stream);
    let waiting = Waiting::default();
    let sending = async {
        let mut bytes = Vec::new();
        while let Some(mut query) = queries.recv().await {
            let Some(id) = place(&waiting, query.reply) else { continue };
            query.packet[..2].copy_from_slice(&id.to_be_bytes());
            bytes.clear();
            put_message(&query.packet, &mut bytes);
            if write.write_all(&bytes).await.is_err() || write.flush().await.is_err() {
                return;
            }
        }
    };
    let receiving = async {
        let (mut read, mut packet, mut foreign) = (BufReader::new(read), Vec::new(), 0);
        while let Ok(Ok(true)) = timeout(expire, read_message(&mut read, &mut packet)).await {
            let id = packet.first_chunk().map(|id| u16::from_be_bytes(*id));
            match id.and_then(|id| lock(&waiting).remove(&id)) {
                // The query may have been given up meanwhile.
                Some(reply) => drop(reply.send(std::mem::take(&mut packet))),
                None if foreign == MOST_FOREIGN => return,
                None => foreign += 1,
            }
        }
    };
    tokio::select! {
        () = sending => {}
        () = receiving => {}
    }
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, HashMap<u16, oneshot::Sender<Vec<u8>>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds a query under an id that no other on the connection has; `None` if too many wait.
fn place(waiting: &Waiting, reply: oneshot::Sender<Vec<u8>>) -> Option<u16> {
    let mut waiting = lock(waiting);
    if waiting.len() >= MOST_WAITING {
        waiting.retain(|_, reply| !reply.is_closed());
    }
    if waiting.len() >= MOST_WAITING {
        return None;
    }
    // At most 1,024 of 65,536 ids are taken, so a free one is found soon.
    let id = std::iter::repeat_with(|| fastrand::u16(..)).find(|id| !waiting.contains_key(id))?;
    waiting.insert(id, reply);
    Some(id)
}
