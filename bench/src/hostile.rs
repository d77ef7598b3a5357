//! What others notice while one client of the API server is hostile.

mod attacks;
mod others;
mod wire;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;

use crate::cluster::{PATIENCE, client, is_ready};
use crate::process::{Process, free_port, status_kib};
use attacks::Attack;
use others::Others;
use wire::Wire;

/// The options of `bench hostile`.
#[derive(Args)]
pub(crate) struct Options {
    /// Only attacks whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Seconds between the end of an attack and the look at what memory it left
    #[arg(long, default_value_t = 5)]
    settle: u64,
}

const ATTACKS: [Attack; 11] = [
    Attack::Quiet,
    Attack::UnreadLists(100),
    Attack::OpenBodies(100),
    Attack::Silent(2000),
    Attack::Patches(1, 40_000),
    Attack::Patches(3, 14_000),
    Attack::Patches(3, 30_000),
    Attack::Yaml(8),
    Attack::Aliases(100),
    Attack::Updates(500),
    Attack::Quiet,
];
/// The hostile client and the others have addresses of their own, as machines would.
const HOSTILE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));
const OTHERS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Measures and prints.
pub(crate) async fn run(program: &Path, options: &Options) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("portolan-bench-").tempdir()?;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let mut command = Command::new(program);
    command.arg("apiserver").arg("--data-dir").arg(folder.path()).args(["--bind", &address.to_string()]);
    let server = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let pid = server.0.id();
    let kubeconfig = folder.path().join("kubeconfig");
    let begin = Instant::now();
    loop {
        match client(&kubeconfig).await {
            Ok(client) if is_ready(&client).await => break,
            _ if begin.elapsed() > PATIENCE => bail!("the API server does not serve"),
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    let (hostile, others) =
        (Wire::new(&kubeconfig, address, HOSTILE)?, Wire::new(&kubeconfig, address, OTHERS)?);
    attacks::prepare(&hostile).await?;
    println!(
        "Others' longest wait in ms (p99) for a read, a write and a new connection; RSS of the server in MiB:"
    );
    println!(
        "{:32} {:>16} {:>16} {:>16} {:>7} {:>6} {:>6} {:>6} {:>7}  answers",
        "attack", "read", "write", "connection", "refused", "before", "peak", "after", "seconds"
    );
    let chosen = ATTACKS.into_iter().filter(|attack| attack.to_string().contains(&options.only));
    for attack in chosen {
        let before = status_kib(pid, "VmRSS");
        let watching = Others::start(&others, pid);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let begin = Instant::now();
        let answers = attacks::run(&hostile, attack).await?;
        let took = begin.elapsed();
        let report = tokio::task::block_in_place(|| watching.report());
        tokio::time::sleep(Duration::from_secs(options.settle)).await;
        let after = status_kib(pid, "VmRSS");
        let [read, write, connection] =
            report.waits.map(|waits| format!("{:.1} ({:.1})", waits.quantile(1.0), waits.quantile(0.99)));
        let answers: Vec<String> = answers.iter().map(|(code, count)| format!("{count} x {code}")).collect();
        println!(
            "{:32} {read:>16} {write:>16} {connection:>16} {:>7} {:>6} {:>6} {:>6} {:>7.1}  {}",
            attack.to_string(),
            report.refused,
            before / 1024,
            report.peak / 1024,
            after / 1024,
            took.as_secs_f64(),
            answers.join(", ")
        );
    }
    Ok(())
}
