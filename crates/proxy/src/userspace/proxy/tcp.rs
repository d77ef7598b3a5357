//! TCP connections.

use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};

use super::Shared;
use super::dial::dial;
use super::pool::Pool;

/// Files that one connection may need: its two sockets, and a pipe while one of them is slow.
const FILES: u32 = 4;
/// How long to wait when the kernel gives no more connections.
const PAUSE: Duration = Duration::from_millis(50);

/// Takes connections until it is dropped. They live on.
pub(super) async fn serve(listener: TcpListener, pool: Arc<Pool>, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((client, address)) => match shared.allowance.take(FILES) {
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
                shared.allowance.is_short(&error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn relay(client: TcpStream, address: std::net::IpAddr, pool: &Pool, shared: &Shared) {
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
