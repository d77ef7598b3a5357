//! DNS over TCP and TLS (RFC 7766, RFC 7858).

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pages::{Connection, Connections};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::client::{Client, Transport};
use crate::config::Scheme;
use crate::log_rate::LogRate;
use crate::plan::{Action, SharedPlan};
use crate::wire::{put_message, read_message};

/// The most connections of a listener.
const CONNECTIONS: usize = 1024;
/// How long a connection may be idle if no new one needs its place (RFC 7766, 6.2.3).
pub(crate) const IDLE: Duration = Duration::from_secs(10);
/// How long connections go on after the listener was closed.
const CLOSING: Duration = Duration::from_secs(10);
/// How long a client may take to read replies.
const WRITE: Duration = Duration::from_secs(10);
/// The most replies of a connection that wait to be written. While so many wait, no queries are read.
const REPLIES: usize = 32;
/// The pause after a connection could not be accepted, so that the loop does not use the whole processor.
const PAUSE: Duration = Duration::from_millis(10);

/// Hands a listener to the runtime.
pub(crate) fn open(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Accepts connections and answers their queries until `closing` ends. The number of connections is bounded: a new one
/// above the bound closes the one that is idle longest. Without a certificate, connections over TLS and HTTPS are
/// closed. When the listener closes, open connections have [`CLOSING`] to end.
pub(crate) async fn serve(
    shared: Arc<SharedPlan>,
    listener: TcpListener,
    scheme: Scheme,
    certificate: watch::Receiver<Option<Arc<ServerConfig>>>,
    closing: impl Future<Output = ()>,
) {
    let mut closing = pin!(closing);
    let (mut connections, rate) = (Connections::new(CONNECTIONS), LogRate::new(Instant::now()));
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            // Connections that are already established are accepted before the end.
            accepted = listener.accept() => accepted,
            () = &mut closing => break,
        };
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a DNS connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        while tasks.try_join_next().is_some() {}
        let (connection, was_full) = connections.admit().await;
        if let Some(suppressed) = was_full.then(|| rate.admit(Instant::now())).flatten() {
            tracing::warn!(
                %client, suppressed,
                "more than {CONNECTIONS} DNS connections are open; each new one closes the one that is idle longest"
            );
        }
        let (shared, certificate) = (shared.clone(), certificate.borrow().clone());
        tasks.spawn(async move {
            let from = Client::of(client, Transport::Tcp);
            tokio::select! {
                ended = serve_connection(shared, stream, from, (scheme, certificate), &connection) => {
                    if let Err(error) = ended {
                        tracing::debug!(%client, %error, "a DNS connection broke");
                    }
                }
                () = connection.must_close() => {}
            }
        });
    }
    drop(listener);
    let ended = async { while tasks.join_next().await.is_some() {} };
    let _ = timeout(CLOSING, ended).await;
}

async fn serve_connection(
    shared: Arc<SharedPlan>,
    stream: TcpStream,
    client: Client,
    (scheme, certificate): (Scheme, Option<Arc<ServerConfig>>),
    connection: &Arc<Connection>,
) -> io::Result<()> {
    if scheme == Scheme::Dns {
        let (read, write) = stream.into_split();
        return converse(shared, client, read, write, connection).await;
    }
    let certificate = certificate.ok_or_else(|| io::Error::other("there is no certificate"))?;
    let stream = timeout(HANDSHAKE, TlsAcceptor::from(certificate).accept(stream)).await??;
    if scheme == Scheme::Https {
        return super::https::serve_connection(shared, client, stream, connection.clone()).await;
    }
    let (read, write) = tokio::io::split(stream);
    converse(shared, client, read, write, connection).await
}

async fn converse(
    shared: Arc<SharedPlan>,
    client: Client,
    read: impl AsyncRead + Unpin,
    write: impl AsyncWrite + Unpin,
    connection: &Arc<Connection>,
) -> io::Result<()> {
    let (replies, written) = mpsc::channel(REPLIES);
    let reading = read_queries(shared, client, BufReader::new(read), replies, connection);
    let (read, wrote) = tokio::join!(reading, write_replies(write, written));
    read.and(wrote)
}

/// Reads queries and has each answered. Replies are sent in the order in which they are ready (RFC 7766, 7).
async fn read_queries(
    shared: Arc<SharedPlan>,
    client: Client,
    mut stream: BufReader<impl AsyncRead + Unpin>,
    replies: mpsc::Sender<Vec<u8>>,
    connection: &Arc<Connection>,
) -> io::Result<()> {
    let mut waiting = JoinSet::new();
    let mut packet = Vec::new();
    loop {
        match timeout(IDLE, read_message(&mut stream, &mut packet)).await {
            Ok(Ok(true)) => {}
            Ok(Err(error)) => return Err(error),
            Ok(Ok(false)) | Err(_) => break,
        }
        let (busy, mut reply, plan) = (connection.busy(), Vec::new(), shared.plan());
        while waiting.try_join_next().is_some() {}
        if let Some(messages) = plan.transfer(&packet, client) {
            for message in messages {
                if replies.send(message).await.is_err() {
                    return Ok(());
                }
            }
            continue;
        }
        let begun = Instant::now();
        let summary = plan.begin(&packet, client, &mut reply);
        // A client that does not read replies counts as idle.
        drop(busy);
        match summary.action {
            Action::Drop => {}
            Action::Reply => {
                plan.count(0, &summary, client, (&packet, &reply), begun.elapsed());
                // If this fails, writing has failed and returns its own error.
                if replies.send(reply).await.is_err() {
                    return Ok(());
                }
            }
            Action::Wait => {
                if waiting.len() >= REPLIES {
                    waiting.join_next().await;
                }
                let (busy, packet, replies) = (connection.busy(), packet.clone(), replies.clone());
                waiting.spawn(async move {
                    let mut reply = Vec::new();
                    plan.finish(&packet, client, &mut reply).await;
                    plan.count(0, &summary, client, (&packet, &reply), begun.elapsed());
                    drop(busy);
                    if !reply.is_empty() {
                        drop(replies.send(reply).await);
                    }
                });
            }
        }
    }
    // Queries that were read are still answered.
    waiting.join_all().await;
    Ok(())
}

async fn write_replies(
    mut stream: impl AsyncWrite + Unpin,
    mut replies: mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    let (mut ready, mut bytes) = (Vec::new(), Vec::new());
    while replies.recv_many(&mut ready, REPLIES).await > 0 {
        bytes.clear();
        ready.drain(..).for_each(|reply| put_message(&reply, &mut bytes));
        timeout(WRITE, stream.write_all(&bytes)).await??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::plan::Plan;

    /// RFC 7766, 6.2.3.
    #[tokio::test]
    async fn a_client_that_reads_no_replies_is_closed_for_a_new_connection_like_an_idle_one() {
        let shared = Arc::new(SharedPlan::new(Arc::new(Plan::new(Vec::new()))));
        let from = Client::of((Ipv4Addr::LOCALHOST, 1).into(), Transport::Tcp);
        let mut connections = Connections::new(1);
        let (connection, _) = connections.admit().await;
        let (mut client, server) = tokio::io::duplex(64);
        let conversation = tokio::spawn(async move {
            let (read, write) = tokio::io::split(server);
            tokio::select! {
                ended = converse(shared, from, read, write, &connection) => ended.map(|()| "it ended by itself"),
                () = connection.must_close() => Ok("it was closed"),
            }
        });
        let mut query = Vec::new();
        put_message(b"\0\x01\0\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01", &mut query);
        // Sends queries until the server reads no more, because no reply is read.
        while timeout(Duration::from_millis(50), client.write_all(&query)).await.is_ok() {}
        let (_connection, was_full) = timeout(Duration::from_secs(5), connections.admit()).await.unwrap();
        assert!(was_full);
        assert_eq!(conversation.await.unwrap().unwrap(), "it was closed");
    }
}
