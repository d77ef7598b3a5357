//! Creates and reads of ConfigMaps through the API server: HTTP, TLS, decoding, validation, store.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use kube::{Api, Client};

use crate::cluster::{PATIENCE, client, is_ready};
use crate::figures::Sample;
use crate::process::{Process, free_port, status_kib};

/// The options of `bench http`.
#[derive(Args)]
pub(crate) struct Options {
    /// How many clients, each with a connection of its own
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Rounds of each kind
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of one round
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

const VALUE: usize = 1024;

/// What a round's clients do.
#[derive(Clone, Copy, Debug)]
enum Call {
    Create,
    Get,
}

/// Measures and prints.
pub(crate) async fn run(program: &Path, options: &Options) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("portolan-bench-").tempdir()?;
    let mut command = Command::new(program);
    command.arg("apiserver").arg("--data-dir").arg(folder.path());
    command.args(["--bind", &format!("127.0.0.1:{}", free_port()?)]);
    let server = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let kubeconfig = folder.path().join("kubeconfig");
    let begin = Instant::now();
    loop {
        match client(&kubeconfig).await {
            Ok(client) if is_ready(&client).await => break,
            _ if begin.elapsed() > PATIENCE => bail!("the API server does not serve"),
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    let clients = try_join_all((0..options.connections).map(|_| client(&kubeconfig))).await?;
    let time = Duration::from_secs(options.seconds);
    println!("ConfigMaps of 1 KiB through the API server, {} connections:", clients.len());
    for call in [Call::Create, Call::Get] {
        let (mut rates, mut latencies) = (Vec::new(), Vec::new());
        for round in 0..options.rounds {
            let (rate, mut times) = one(&clients, call, round, time).await?;
            rates.push(rate);
            latencies.append(&mut times);
        }
        let rate: Sample = rates.into_iter().collect();
        println!("  {call:?} {:>26} per second; ms: {}", rate.spread(0), Sample::of_millis(latencies).tail());
    }
    println!("  the server's RSS afterwards: {} MiB", status_kib(server.0.id(), "VmRSS") / 1024);
    Ok(())
}

/// One round: calls per second, and the time of each.
async fn one(
    clients: &[Client],
    call: Call,
    round: usize,
    time: Duration,
) -> anyhow::Result<(f64, Vec<Duration>)> {
    let number = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let tasks = clients.iter().map(|client| {
        let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
        let number = number.clone();
        tokio::spawn(async move {
            let mut times = Vec::new();
            while begin.elapsed() < time {
                let called = Instant::now();
                match call {
                    Call::Create => {
                        let name = format!("bench-{round}-{}", number.fetch_add(1, Ordering::Relaxed));
                        maps.create(&PostParams::default(), &config_map(name)).await?;
                    }
                    Call::Get => {
                        maps.get(&format!("bench-{round}-0")).await?;
                    }
                }
                times.push(called.elapsed());
            }
            anyhow::Ok(times)
        })
    });
    let mut times = Vec::new();
    for result in try_join_all(tasks).await? {
        times.append(&mut result?);
    }
    Ok((times.len() as f64 / begin.elapsed().as_secs_f64(), times))
}

fn config_map(name: String) -> ConfigMap {
    let mut map =
        ConfigMap { data: Some([("value".to_owned(), "v".repeat(VALUE))].into()), ..ConfigMap::default() };
    map.metadata.name = Some(name);
    map
}
