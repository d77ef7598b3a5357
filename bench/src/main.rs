//! Benches of the whole system, as black boxes where that is possible.
//!
//! Each command starts what it measures, prints a table and removes what it made. All traffic is on
//! the loopback address or in namespaces that the bench's own cluster made. `README.md` says what
//! each figure means and how it is taken.

#![allow(
    clippy::disallowed_methods,
    reason = "the bans protect what runs for long; a bench runs once, on a runtime of several threads"
)]

mod alone;
mod cluster;
mod demo;
mod dns;
mod etcd;
mod figures;
mod hostile;
mod http_path;
mod memory;
mod prober;
mod process;
mod proxy;
mod ready;
mod store_beside_etcd;
mod tutorial;
mod watching;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// Benches of Portolan
#[derive(Parser)]
struct Cli {
    /// The program to measure [default: `portolan` beside this program]
    #[arg(long, global = true, value_name = "FILE")]
    portolan: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// From the start of a sandbox to the first answer through a ClusterIP
    Demo(demo::Options),
    /// Memory and processor time of an idle cluster with the tutorial applied
    Memory(memory::Options),
    /// From a pod's readiness to the first packet that reaches it through the ClusterIP
    Ready(ready::Options),
    /// Durable creates and watch latency of the store beside etcd
    Store(store_beside_etcd::Options),
    /// Creates and reads of ConfigMaps through the API server
    Http(http_path::Options),
    /// What others notice while one client of the API server is hostile: their longest wait, and memory
    Hostile(hostile::Options),
    /// First rules, single changes, processor time and memory of the Service proxy beside kube-proxy
    Proxy(proxy::Options),
    /// Answers of the DNS server beside NSD and CoreDNS, each per second of its processor time
    Dns(dns::Options),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let program = cli.portolan.map_or_else(beside_this_program, Ok)?;
    let measured = async {
        match &cli.command {
            Command::Demo(options) => demo::run(&program, options).await,
            Command::Memory(options) => memory::run(&program, options).await,
            Command::Ready(options) => ready::run(&program, options).await,
            Command::Store(options) => store_beside_etcd::run(options).await,
            Command::Http(options) => http_path::run(&program, options).await,
            Command::Hostile(options) => hostile::run(&program, options).await,
            Command::Dns(options) => tokio::task::block_in_place(|| dns::run(&program, options)),
            Command::Proxy(options) => tokio::task::block_in_place(|| proxy::run(&program, options)),
        }
    };
    let mut terminated = signal(SignalKind::terminate())?;
    // Dropping what is under way removes what it made.
    tokio::select! {
        measured = measured => measured,
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
        _ = terminated.recv() => Ok(()),
    }
}

fn beside_this_program() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let program = own.parent().unwrap_or(Path::new(".")).join("portolan");
    anyhow::ensure!(
        program.exists(),
        "{} is not there; build it (cargo build --release) or name it with --portolan",
        program.display()
    );
    Ok(program)
}
