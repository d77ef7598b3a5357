//! Connections to one address from a machine of the cluster, as fast as they are answered.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::Context;
use testbed::Namespace;

/// A connection that takes longer is given up; in a sandbox it takes some 50 us.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(30);
/// An answer that takes longer is none.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two attempts, to leave the processor to what is measured.
const PAUSE: Duration = Duration::from_micros(500);

/// A node refuses connections by ICMP, of which the kernel sends some hundred a second at most
/// (`icmp_msgs_per_sec` of ip-sysctl); a prober asks more often. Without the limit no refusal is
/// missing, which would look like a packet on its way.
const UNLIMITED: [(&str, &str); 3] =
    [("icmp_msgs_per_sec", "1000000"), ("icmp_msgs_burst", "10000"), ("icmp_ratelimit", "0")];

/// What a prober waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// A connection is established.
    Connected,
    /// A request is answered with the page of the tutorial.
    Answered,
    /// A connection is refused.
    Refused,
}

/// Waits on a thread in `namespace` until `address` behaves as `goal` says; tells when it did.
pub(crate) async fn reached(
    namespace: &Namespace,
    address: SocketAddr,
    goal: Goal,
    patience: Duration,
) -> anyhow::Result<Instant> {
    let namespace = namespace.clone();
    let (tell, told) = tokio::sync::oneshot::channel();
    let _prober: JoinHandle<()> = std::thread::Builder::new().name("prober".to_owned()).spawn(move || {
        let reached = namespace.enter().map_err(anyhow::Error::from).and_then(|()| {
            for (name, value) in UNLIMITED {
                std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value)?;
            }
            let begin = Instant::now();
            while begin.elapsed() < patience && !tell.is_closed() {
                if holds(address, goal) {
                    return Ok(Instant::now());
                }
                sleep(PAUSE);
            }
            anyhow::bail!("{address} was not {goal:?} within {} s", patience.as_secs())
        });
        drop(tell.send(reached));
    })?;
    told.await.context("the prober has ended")?
}

fn holds(address: SocketAddr, goal: Goal) -> bool {
    let connection = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT);
    match (goal, connection) {
        (Goal::Connected, Ok(_)) => true,
        (Goal::Answered, Ok(stream)) => answer(stream).is_ok_and(|text| text.contains("It works!")),
        (Goal::Refused, Err(error)) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        _ => false,
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
