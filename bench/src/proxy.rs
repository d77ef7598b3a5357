//! The Service proxy beside kube-proxy: rules and changes, size, memory, packets.
//!
//! Everything happens in network namespaces that go with their values: a node with an API server of its own, a pod
//! and a client. Proxies are measured by their own word (`/healthz` says when rules were programmed last, and both
//! say it alike), packets by the clients that send them.

mod changes;
mod ground;
mod memory;
mod packets;
mod scale;
mod subject;
mod throughput;

use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::{Args, ValueEnum};

/// The options of `bench proxy`.
#[derive(Args)]
pub(crate) struct Options {
    /// How many Services
    #[arg(long, default_value_t = 10_000)]
    services: usize,
    /// How many endpoints each has
    #[arg(long, default_value_t = 3)]
    endpoints: usize,
    /// How many single changes are made and timed; kube-proxy's nftables mode gets a tenth, at least 3
    #[arg(long, default_value_t = 100)]
    changes: usize,
    /// Where the real kube-proxy is (`compat/peers.sh` builds it); without it only ours is measured
    #[arg(long, value_name = "FILE")]
    kube_proxy: Option<PathBuf>,
    /// Only these proxies, such as `portolan/nftables`
    #[arg(long, value_name = "NAME/MODE", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    part: Vec<Part>,
}

/// A part of this bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// First rules and single changes, each proxy and mode
    Changes,
    /// The same with few and many Services, and with many endpoints
    Scale,
    /// Connections through the first, middle and last Service
    Packets,
    /// Bytes per second, userspace mode beside nftables mode and no proxy
    Throughput,
    /// Memory with 100,000 endpoints, before and after a relist
    Memory,
}

/// Measures and prints.
pub(crate) fn run(program: &Path, options: &Options) -> anyhow::Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "rules need root; run this bench as root");
    for part in Part::value_variants() {
        if !options.part.is_empty() && !options.part.contains(part) {
            continue;
        }
        match part {
            Part::Changes => changes::run(program, options)?,
            Part::Scale => scale::run(program, options)?,
            Part::Memory => memory::run(program)?,
            Part::Packets => packets::run(program, options)?,
            Part::Throughput => throughput::run(program)?,
        }
        println!();
    }
    Ok(())
}
