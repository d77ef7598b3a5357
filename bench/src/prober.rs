//! Connections to one address from a machine of the cluster, as fast as they are answered.

use std::io::{ErrorKind, Read, Write};
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

/// That a goal was reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reached {
    /// When.
    pub(crate) at: Instant,
    /// How many connections before it were neither established nor refused in time.
    pub(crate) silent: usize,
}

/// Waits on a thread in `namespace` until `address` behaves as `goal` says.
pub(crate) async fn reached(
    namespace: &Namespace,
    address: SocketAddr,
    goal: Goal,
    patience: Duration,
) -> anyhow::Result<Reached> {
    let namespace = namespace.clone();
    let (tell, told) = tokio::sync::oneshot::channel();
    let _prober: JoinHandle<()> = std::thread::Builder::new().name("prober".to_owned()).spawn(move || {
        let reached = namespace.enter().map_err(anyhow::Error::from).and_then(|()| {
            let begin = Instant::now();
            let mut silent = 0;
            while begin.elapsed() < patience && !tell.is_closed() {
                let connection = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT);
                silent +=
                    usize::from(matches!(&connection, Err(error) if error.kind() == ErrorKind::TimedOut));
                if holds(connection, goal) {
                    return Ok(Reached { at: Instant::now(), silent });
                }
                sleep(PAUSE);
            }
            anyhow::bail!("{address} was not {goal:?} within {} s", patience.as_secs())
        });
        drop(tell.send(reached));
    })?;
    told.await.context("the prober has ended")?
}

fn holds(connection: std::io::Result<TcpStream>, goal: Goal) -> bool {
    match (goal, connection) {
        (Goal::Connected, Ok(_)) => true,
        (Goal::Answered, Ok(stream)) => answer(stream).is_ok_and(|text| text.contains("It works!")),
        (Goal::Refused, Err(error)) => error.kind() == ErrorKind::ConnectionRefused,
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
