//! Bytes per second through one connection: no proxy, nftables mode, userspace mode.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use testbed::Namespace;

use super::ground::{Ground, POD, PORT, Shape, cluster_ip};
use super::subject::{Subject, files};
use crate::figures::Sample;

/// How many times each way is measured.
const ROUNDS: usize = 5;
/// What goes through in a round.
const BYTES: usize = 1 << 30;
const PIECE: usize = 1 << 17;
const TIMEOUT: Duration = Duration::from_secs(30);

/// Measures and prints.
pub(super) fn run(program: &Path) -> anyhow::Result<()> {
    let ground = Ground::new(program, Shape { services: 3, endpoints: 3 })?;
    serve(ground.pod())?;
    let direct = SocketAddr::new(POD[0].parse()?, PORT);
    println!("{:<24} {:>24} {:>12}", "", "GB/s", "to no proxy");
    let mut reference = f64::NAN;
    for mode in ["", "nftables", "userspace"] {
        let (folder, kubeconfig) = files(&ground);
        let started = match mode {
            "" => None,
            mode => Some(ground.run(async move |client| {
                let subject = Subject { name: "portolan", mode, program };
                let running = subject.start((&folder, &kubeconfig)).await?;
                Ok((running, SocketAddr::new(cluster_ip(&client, 0).await?.parse()?, PORT)))
            })?),
        };
        let to = started.as_ref().map_or(direct, |(_, destination)| *destination);
        let rates =
            (0..ROUNDS).map(|_| ground.client().run(|| send(to))?).collect::<anyhow::Result<Sample>>()?;
        if mode.is_empty() {
            reference = rates.median();
        }
        let name = if mode.is_empty() { "no proxy".to_owned() } else { format!("portolan {mode}") };
        println!("{name:<24} {:>24} {:>11.2}x", rates.spread(2), rates.median() / reference);
        drop(started);
        ground.cleanup()?;
    }
    Ok(())
}

/// Sends all bytes and waits until they were read; returns gigabytes (of a thousand million bytes) per second.
fn send(to: SocketAddr) -> anyhow::Result<f64> {
    let mut stream = TcpStream::connect_timeout(&to, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let piece = vec![0; PIECE];
    let begin = Instant::now();
    for _ in 0..BYTES / PIECE {
        stream.write_all(&piece)?;
    }
    stream.read_exact(&mut [0])?;
    Ok(BYTES as f64 / 1e9 / begin.elapsed().as_secs_f64())
}

/// Reads all bytes of each connection, then answers one, for as long as this process lives.
fn serve(namespace: &Namespace) -> anyhow::Result<()> {
    let listener = namespace.run(|| TcpListener::bind(("0.0.0.0", PORT)))??;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut piece = vec![0; PIECE];
            let mut left = BYTES;
            while left > 0 {
                match stream.read(&mut piece) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => left -= count.min(left),
                }
            }
            // A client that has gone needs no answer.
            drop(stream.write_all(&[0]));
        }
    });
    Ok(())
}
