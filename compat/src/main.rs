//! `compat`: the real kube-proxy and CoreDNS beside ours, on random clusters. `compat/README.md` says how to run it.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::{Args, Parser, Subcommand};
use compat::check::{self, Verdicts};

use compat::dns::corefile::CASES;
use compat::dns::live::Comparison;
use compat::generate;
use compat::peers::{self, Peers};
use compat::recording::Recording;
use fastrand::Rng;

/// Compares our parts with those of Kubernetes on random clusters, and says where they differ
#[derive(Parser)]
struct Cli {
    /// Where etcd, kube-apiserver, kube-proxy and coredns are
    #[arg(long, global = true, value_name = "DIR", default_value = "target/peers")]
    peers: PathBuf,
    /// The first of the random clusters; the same number gives the same clusters [default: 1; for chaos any]
    #[arg(long, global = true, value_name = "N")]
    seed: Option<u64>,
    /// How many Services each has
    #[arg(long, global = true, value_name = "N", default_value_t = 60)]
    services: usize,
    /// Keep each cluster and what the peer made of it in a folder below this one
    #[arg(long, global = true, value_name = "DIR")]
    record: Option<PathBuf>,
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// The Service proxy with kube-proxy: every packet must go the same way
    Proxy(Proxy),
    /// The cluster's DNS with CoreDNS: every question must get the same answer
    Dns(Dns),
    /// The manifests of deploy/ on a real API server, and the rights of their accounts
    Deploy(Deploy),
    /// A cluster under clients while everything around it fails; needs nothing but our program
    Chaos(Chaos),
}

#[derive(Args)]
struct Chaos {
    /// Actions by chance for so many minutes [default: each action once]
    #[arg(long, value_name = "N")]
    minutes: Option<u64>,
    /// Actions by chance for so many seconds
    #[arg(long, value_name = "N", conflicts_with = "minutes")]
    seconds: Option<u64>,
    /// Only these actions
    #[arg(long, value_name = "ACTION", value_delimiter = ',')]
    only: Vec<String>,
    /// Show the actions and end
    #[arg(long)]
    list: bool,
    /// Our program [default: `portolan` beside this program]
    #[arg(long, value_name = "FILE")]
    portolan: Option<PathBuf>,
}

#[derive(Args)]
struct Proxy {
    /// How many clusters
    #[arg(long, value_name = "N", default_value_t = 10)]
    rounds: u64,
    /// Only this mode
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,
}

#[derive(Args)]
struct Deploy {
    /// Where the manifests are
    #[arg(long, value_name = "DIR", default_value = "deploy")]
    manifests: PathBuf,
    /// Our program [default: `portolan` beside this program]
    #[arg(long, value_name = "FILE")]
    portolan: Option<PathBuf>,
}

#[derive(Args)]
struct Dns {
    /// How many clusters
    #[arg(long, value_name = "N", default_value_t = 2)]
    rounds: u64,
    /// Only these configurations
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    case: Vec<String>,
    /// About how many questions each configuration gets [default: all that the objects suggest]
    #[arg(long, value_name = "N")]
    most: Option<usize>,
    /// Our program [default: `portolan` beside this program]
    #[arg(long, value_name = "FILE")]
    portolan: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    if let Part::Chaos(Chaos { list: true, .. }) = &cli.part {
        compat::chaos::list().for_each(|(name, what)| println!("{name:16}{what}"));
        return Ok(());
    }
    ensure!(rustix::process::geteuid().is_root(), "network namespaces and rules need root");
    match &cli.part {
        Part::Chaos(options) => chaos(&cli, options),
        Part::Proxy(options) => proxy(&cli, options),
        Part::Dns(options) => dns(&cli, options),
        Part::Deploy(options) => {
            let portolan = program(options.portolan.as_deref())?;
            compat::deploy::check(&Peers::start(&cli.peers)?, &options.manifests, &portolan)
        }
    }
}

/// Our program.
fn program(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("portolan");
    Ok(named.map_or(beside, Path::to_path_buf))
}

fn chaos(cli: &Cli, options: &Chaos) -> anyhow::Result<()> {
    let time = options.minutes.map(|minutes| minutes.saturating_mul(60)).or(options.seconds);
    let options = compat::chaos::Options {
        program: program(options.portolan.as_deref())?,
        seed: cli.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)),
        time: time.map(std::time::Duration::from_secs),
        only: options.only.clone(),
    };
    let violations = compat::chaos::run(&options)?;
    ensure!(violations.is_empty(), "promises were not kept:\n  {}", violations.join("\n  "));
    Ok(())
}

/// The first of the random clusters if nobody has named one.
const FIRST: u64 = 1;

fn dns(cli: &Cli, options: &Dns) -> anyhow::Result<()> {
    let portolan = &program(options.portolan.as_deref())?;
    let mut verdicts = compat::dns::verdicts::Verdicts::default();
    let first = cli.seed.unwrap_or(FIRST);
    for round in first..first + options.rounds {
        let peers = Peers::start(&cli.peers)?;
        let folder = cli.record.as_ref().map(|folder| folder.join(format!("dns-{round}")));
        let comparison =
            Comparison { peers: &peers, portolan, most: options.most, record: folder.as_deref() };
        let mut random = Rng::with_seed(round);
        let objects = comparison.fill(&mut random, cli.services)?;
        for case in &CASES {
            // Each configuration has its own chance, so that one alone asks what it asks among others.
            let mut random = random.fork();
            if options.case.is_empty() || options.case.iter().any(|name| name == case.name) {
                let found = comparison.run(&mut random, &objects, case)?;
                println!("{round} {}: {found}", case.name);
                verdicts.add(found);
            }
        }
    }
    println!("{}all: {verdicts}", verdicts.details());
    ensure!(verdicts.mistakes() == 0, "there are differences");
    Ok(())
}

fn proxy(cli: &Cli, options: &Proxy) -> anyhow::Result<()> {
    let peers = Peers::start(&cli.peers)?;
    let mut verdicts = Verdicts::default();
    let first = cli.seed.unwrap_or(FIRST);
    for round in first..first + options.rounds {
        let mut random = Rng::with_seed(round);
        peers.fill(&generate::cluster(&mut random, cli.services))?;
        for mode in ["iptables", "nftables"] {
            let settings = generate::settings(&mut random, mode);
            if options.mode.as_deref().is_some_and(|only| only != mode) {
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
    ensure!(verdicts.differences.is_empty(), "there are differences");
    Ok(())
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
    let objects = peers.objects(&peers::PACKETS)?;
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
