//! Finding an endpoint that answers.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::pool::{Pool, TRIES};

/// How long each try waits for an endpoint; further ones as long as the last. kube-proxy's userspace mode waited
/// as long.
const PATIENCE: [Duration; TRIES] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// Connects to an endpoint for this client. One that does not answer costs time, not the connection: the next is
/// tried. `None` if nobody answers.
pub(super) async fn dial(pool: &Pool, client: IpAddr) -> Option<TcpStream> {
    for (tries, endpoint) in pool.turn(client, Instant::now()).enumerate() {
        let patience = PATIENCE[tries.min(TRIES - 1)];
        match timeout(patience, TcpStream::connect(endpoint)).await {
            Ok(Ok(stream)) if is_alone(&stream) => {
                tracing::debug!(%endpoint, "nobody listens at the endpoint");
            }
            Ok(Ok(stream)) => {
                pool.note(client, endpoint, Instant::now());
                return Some(stream);
            }
            Ok(Err(error)) => tracing::debug!(%endpoint, %error, "the endpoint does not answer"),
            Err(_) => tracing::debug!(%endpoint, ?patience, "the endpoint does not answer in time"),
        }
    }
    None
}

/// Whether a socket is connected with itself, as TCP allows where the endpoint's address is the node's and its port
/// happens to be the one the kernel gave the socket (RFC 9293, simultaneous open).
fn is_alone(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(here), Ok(there)) if here == there)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::pool::Behind;
    use super::*;

    fn pool(endpoints: &[SocketAddr]) -> Pool {
        Pool::new(Behind { endpoints: endpoints.into(), ..Behind::default() })
    }

    #[test]
    fn a_dead_endpoint_is_passed_over_and_only_dead_ones_fail() {
        let alive = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        // Nobody can listen at port 1 of an address that only this test uses.
        let dead = SocketAddr::from(([127, 94, 3, 1], 1));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = IpAddr::from([192, 0, 2, 1]);
            let both = pool(&[dead, alive.local_addr().unwrap()]);
            for _ in 0..4 {
                let stream = dial(&both, client).await.unwrap();
                assert_eq!(stream.peer_addr().unwrap(), alive.local_addr().unwrap());
            }
            assert!(dial(&pool(&[dead]), client).await.is_none());
            assert!(dial(&pool(&[]), client).await.is_none());
        });
    }
}
