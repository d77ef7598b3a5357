//! `compat`: the real kube-proxy and ours, on random clusters. `compat/README.md` says how to run it.

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use clap::Parser;
use compat::check::{self, Verdicts};
use compat::generate;
use compat::peers::Peers;
use compat::recording::Recording;
use fastrand::Rng;

/// Gives random clusters to the real kube-proxy and to ours, and says where they differ.
#[derive(Parser)]
struct Cli {
    /// Where etcd, kube-apiserver and kube-proxy are
    #[arg(long, value_name = "DIR")]
    peers: PathBuf,
    /// How many clusters
    #[arg(long, value_name = "N", default_value_t = 10)]
    rounds: u64,
    /// How many Services each has
    #[arg(long, value_name = "N", default_value_t = 60)]
    services: usize,
    /// The first of the random clusters; the same number gives the same clusters
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Keep each cluster and kube-proxy's rules in a folder below this one
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Only this mode
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    ensure!(rustix::process::geteuid().is_root(), "network namespaces and rules need root");
    let peers = Peers::start(&cli.peers)?;
    let mut verdicts = Verdicts::default();
    for round in cli.seed..cli.seed + cli.rounds {
        let mut random = Rng::with_seed(round);
        peers.fill(&generate::cluster(&mut random, cli.services))?;
        for mode in ["iptables", "nftables"] {
            let settings = generate::settings(&mut random, mode);
            if cli.mode.as_deref().is_some_and(|only| only != mode) {
                continue;
            }
            let recording = record(&peers, mode, settings)?;
            if let Some(folder) = &cli.record {
                recording.write(&folder.join(format!("{mode}-{round}")))?;
            }
            let found = check::all(&recording, peers.namespace())?;
            println!("{mode} {round}: {found}");
            for difference in found.differences.iter().take(20) {
                println!("  {difference}");
            }
            if !found.differences.is_empty() && cli.record.is_none() {
                keep(&recording, mode, round)?;
            }
            verdicts.add(found);
        }
    }
    println!("all: {verdicts}");
    if verdicts.differences.is_empty() { Ok(()) } else { bail!("there are differences") }
}

/// A cluster that shows a difference is kept for a closer look.
fn keep(recording: &Recording, mode: &str, round: u64) -> anyhow::Result<()> {
    let folder = Path::new("target/compat").join(format!("{mode}-{round}"));
    recording.write(&folder)?;
    println!("  kept in {}", folder.display());
    Ok(())
}

/// Lets kube-proxy program the cluster that the API server holds, and reads what it wrote.
fn record(peers: &Peers, mode: &str, settings: String) -> anyhow::Result<Recording> {
    peers.flush()?;
    let objects = peers.objects()?;
    let dumps: &[(&str, &str, &[&str])] = match mode {
        "iptables" => &[("iptables-save", "iptables-save", &[]), ("ip6tables-save", "ip6tables-save", &[])],
        _ => &[("nft", "nft", &["list", "ruleset"])],
    };
    let (_, program, arguments) = dumps[0];
    let rules = peers.with_kube_proxy(
        &settings,
        || {
            // Both families have the last Service's chain when their sync is over; it is of the first family.
            peers.run(program, arguments)
        },
        || {
            // IPv6 is programmed beside IPv4 and may take a moment longer.
            std::thread::sleep(std::time::Duration::from_millis(1500));
            dumps
                .iter()
                .map(|(name, program, arguments)| Ok(((*name).to_owned(), peers.run(program, arguments)?)))
                .collect()
        },
    )?;
    peers.flush()?;
    Ok(Recording { objects, settings, rules })
}
