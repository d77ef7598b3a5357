//! TCP connections.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};

use super::Shared;
use super::dial::dial;
use super::listen;
use super::listener_counts::Listeners;
use super::pool::Pool;

/// Files that one connection may need: its two sockets, and a pipe while one of them is slow.
const FILES: u32 = 4;
/// How long to wait when the kernel gives no more connections.
const PAUSE: Duration = Duration::from_millis(50);

/// How long to wait before an address that is taken is tried again: at first shortly and in silence, as whoever had
/// it may be about to leave, then as long as later.
const RETRIES: [(Duration, bool); 2] = [(PAUSE, false), (RETRY, true)];
const RETRY: Duration = Duration::from_secs(5);

/// Takes connections until it is dropped. They live on.
pub(super) async fn serve(listener: TcpListener, pool: Arc<Pool>, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((client, address)) => match shared.file_limit.take(FILES) {
                Some(permit) => {
                    let (pool, shared) = (pool.clone(), shared.clone());
                    tokio::spawn(async move {
                        relay(client, address.ip(), &pool, &shared).await;
                        drop(permit);
                    });
                }
                None => reset(&client),
            },
            Err(error) => {
                shared.file_limit.is_short(&error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Listens at an address once it is free, and takes connections until it is dropped.
pub(super) async fn serve_at(
    address: SocketAddr,
    pool: Arc<Pool>,
    shared: Arc<Shared>,
    listeners: Arc<Listeners>,
) {
    let mut waits = RETRIES.into_iter();
    let listener = loop {
        let taken = match listen::tcp(address).and_then(TcpListener::from_std) {
            Ok(listener) => break listener,
            Err(error) => error,
        };
        listeners.failed();
        let (wait, is_news) = waits.next().unwrap_or((RETRY, false));
        if is_news {
            tracing::error!(%address, error = %taken, "a NodePort cannot be listened at; trying again");
        }
        tokio::time::sleep(wait).await;
    };
    let _present = listeners.present();
    serve(listener, pool, shared).await;
}

async fn relay(client: TcpStream, address: IpAddr, pool: &Pool, shared: &Shared) {
    let Some(endpoint) = dial(pool, address).await else { return reset(&client) };
    for stream in [&client, &endpoint] {
        // Without either, connections work; they are slower, or stay when a peer is gone without a word.
        let _ = stream.set_nodelay(true);
        let _ = sockopt::set_socket_keepalive(stream, true);
    }
    if let Err(error) = shared.pipes.join(&client, &endpoint).await {
        tracing::debug!(client = %address, %error, "a connection broke");
        reset(&client);
        reset(&endpoint);
    }
}

/// Lets the end of a connection be a reset, as if whoever is behind it had ended it so.
fn reset(stream: &TcpStream) {
    // Where that is not possible, the connection ends in the usual way.
    let _ = sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}
