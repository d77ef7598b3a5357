//! Connections through the first, middle and last Service, in our layout and in kube-proxy's.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use testbed::Namespace;

use super::Options;
use super::ground::{Ground, POD, PORT, Shape, cluster_ip};
use super::subject::{Subject, files};
use crate::figures::Sample;

/// How many times all destinations are tried, in turn.
const ROUNDS: usize = 7;
/// Connections through each destination in a round.
const CONNECTIONS: usize = 2000;
/// A connection that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(2);
const DESTINATIONS: [&str; 4] = ["no Service", "first Service", "middle Service", "last Service"];

/// Measures and prints. Without kube-proxy its layout is ours of the same name.
pub(super) fn run(program: &Path, options: &Options) -> anyhow::Result<()> {
    let peer = options.kube_proxy.as_deref();
    let mut subjects = vec![Subject { name: "portolan", mode: "nftables", program }];
    subjects.extend(peer.map(|program| Subject { name: "kube-proxy", mode: "nftables", program }));
    let shape = Shape { services: options.services.min(10_000), endpoints: options.endpoints.min(POD.len()) };
    let mut scenes = Vec::new();
    for subject in &subjects {
        let ground = Ground::new(program, shape)?;
        let destinations = load(&ground, *subject)?;
        serve(ground.pod())?;
        scenes.push((ground, destinations, vec![Vec::new(); DESTINATIONS.len()]));
    }
    for _ in 0..ROUNDS {
        for (ground, destinations, rounds) in &mut scenes {
            for (destination, times) in destinations.iter().zip(rounds) {
                times.push(ground.client().run(|| connect(*destination))??);
            }
        }
    }
    println!("{:<36} {:>24} {:>24} {:>16}", "", "first packet us p50", "p99", "connections/s");
    for (subject, (_, _, destinations)) in subjects.iter().zip(&scenes) {
        for (destination, rounds) in DESTINATIONS.iter().zip(destinations) {
            let of = |part: f64| {
                rounds.iter().map(move |(round, _)| round.quantile(part) * 1e3).collect::<Sample>()
            };
            let rate: Sample = rounds.iter().map(|(_, rate)| *rate).collect();
            println!(
                "{:<36} {:>24} {:>24} {:>16.0}",
                format!("{} {}, {destination}", subject.name, subject.mode),
                of(0.5).spread(1),
                of(0.99).spread(0),
                rate.median()
            );
        }
    }
    Ok(())
}

/// Connects again and again; returns how long each took to be answered, and how many there were in a second.
fn connect(to: SocketAddr) -> anyhow::Result<(Sample, f64)> {
    let mut times = Vec::with_capacity(CONNECTIONS);
    let begin = Instant::now();
    for _ in 0..CONNECTIONS {
        let start = Instant::now();
        let connected = TcpStream::connect_timeout(&to, TIMEOUT);
        let mut stream = connected.with_context(|| format!("{to} after {} connections", times.len()))?;
        times.push(start.elapsed());
        // The pod takes and closes it before the next one, so none has to wait in line there.
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream
            .read_exact(&mut [0])
            .err()
            .filter(|error| error.kind() == ErrorKind::UnexpectedEof)
            .context("not closed")?;
    }
    let rate = CONNECTIONS as f64 / begin.elapsed().as_secs_f64();
    Ok((Sample::of_millis(times), rate))
}

/// Has a proxy load its rules and ends it; returns the destinations.
fn load(ground: &Ground, subject: Subject<'_>) -> anyhow::Result<Vec<SocketAddr>> {
    let (folder, kubeconfig) = files(ground);
    let shape = ground.shape;
    ground.run(async move |client| {
        let running = subject.start((&folder, &kubeconfig)).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(running);
        let mut destinations = vec![SocketAddr::new(POD[0].parse()?, PORT)];
        for number in shape.answering() {
            destinations.push(SocketAddr::new(cluster_ip(&client, number).await?.parse()?, PORT));
        }
        Ok(destinations)
    })
}

/// Takes connections in the namespace for as long as this process lives.
fn serve(namespace: &Namespace) -> anyhow::Result<()> {
    let listener = namespace.run(|| TcpListener::bind(("0.0.0.0", PORT)))??;
    std::thread::spawn(move || listener.incoming().for_each(drop));
    Ok(())
}
