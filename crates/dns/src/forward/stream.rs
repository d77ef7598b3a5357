//! Queries on a connection that is kept (RFC 7766).

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::wire::{put_message, read_message};

/// How many queries may wait on one connection.
const MOST_WAITING: usize = 1024;
/// How many messages that answer nothing are read before a connection is given up.
const MOST_FOREIGN: usize = 64;

/// A query for a connection.
#[derive(Debug)]
struct PendingQuery {
    packet: Vec<u8>,
    reply: oneshot::Sender<Vec<u8>>,
}

/// A connection to a resolver that is opened when it is needed and kept for later queries, any number at a time.
#[derive(Debug, Default)]
pub(super) struct Connection {
    line: tokio::sync::Mutex<Option<mpsc::Sender<PendingQuery>>>,
}

/// Queries by id, and who waits for the reply.
type Waiting = Mutex<HashMap<u16, oneshot::Sender<Vec<u8>>>>;

impl Connection {
    /// Sends a query on the connection, which `connect` opens if there is none, and waits for the message with its
    /// id. A kept connection may have been closed by the other side, so the query is tried on a new one too. Tells
    /// whether the connection was there.
    ///
    /// # Errors
    /// When there is no connection, or it breaks.
    pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Send + 'static>(
        &self,
        packet: &[u8],
        expire: Duration,
        connect: impl Future<Output = io::Result<S>>,
    ) -> io::Result<(Vec<u8>, bool)> {
        // It is awaited once at most: who has opened a connection is done with it.
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
            // The next turn opens a new one, even if this one is not known to be closed yet.
            let mut current = self.line.lock().await;
            if current.as_ref().is_some_and(|current| current.same_channel(&line)) {
                *current = None;
            }
        }
    }
}

/// Writes queries and hands out replies until nobody asks any more, the other side closes, or nothing was heard
/// for a while.
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
                // Whoever waited may have given up.
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

/// An id that no other query on the connection has; `None` while too many wait.
fn place(waiting: &Waiting, reply: oneshot::Sender<Vec<u8>>) -> Option<u16> {
    let mut waiting = lock(waiting);
    if waiting.len() >= MOST_WAITING {
        waiting.retain(|_, reply| !reply.is_closed());
    }
    if waiting.len() >= MOST_WAITING {
        return None;
    }
    // Most ids are free, so one is found soon.
    let id = std::iter::repeat_with(|| fastrand::u16(..)).find(|id| !waiting.contains_key(id))?;
    waiting.insert(id, reply);
    Some(id)
}
