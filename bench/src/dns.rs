//! The DNS server beside NSD and CoreDNS: the same records, the same questions, one server after the other.
//!
//! CoreDNS and ours watch one API server; NSD reads the records from a zone file. What counts is not how many
//! answers a second come, which the asker on the same machine bounds, but how much processor time each costs.

mod changes;
mod instructions;
mod load;
mod mixes;
mod records;
mod subjects;
mod usage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;

use self::load::Run;
use self::mixes::Mix;
use self::records::Records;
use self::subjects::{How, Kind, Subject};
use crate::alone::{ApiServer, Place, call};
use crate::figures::Sample;

/// The options of `bench dns`.
#[derive(Args)]
pub(crate) struct Options {
    /// How many Services with an address
    #[arg(long, default_value_t = 10_000)]
    services: usize,
    /// How many headless Services, of 100 endpoints each
    #[arg(long, default_value_t = 1_000)]
    headless: usize,
    /// How often each mix is asked of each server
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long it is asked, in seconds
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// How many single changes are made and timed
    #[arg(long, default_value_t = 200)]
    changes: usize,
    /// NSD, which is also the upstream of the others
    #[arg(long, value_name = "FILE", default_value = "nsd")]
    nsd: PathBuf,
    /// The real CoreDNS (`compat/peers.sh` builds it); without it only ours and NSD are measured
    #[arg(long, value_name = "FILE")]
    coredns: Option<PathBuf>,
    /// Only these servers, such as `portolan,nsd`
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these mixes
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    mix: Vec<String>,
    /// Count the instructions of each answer under valgrind, and measure nothing else
    #[arg(long)]
    instructions: bool,
}

/// Requests under way at once while the cluster is filled.
const WRITERS: usize = 32;
/// The headless Services that are there when single changes are timed first.
const FEW: usize = 10;
/// How long memory is left alone before it is looked at.
const REST: Duration = Duration::from_secs(3);

/// Measures and prints.
pub(crate) fn run(program: &Path, options: &Options) -> anyhow::Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "a network namespace needs root; run this bench as root");
    let place = Place::new("bench-dns")?;
    // Everything happens in the namespace, so the thread that starts it is there.
    place.0.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(measure(program, options))
    })?
}

async fn measure(program: &Path, options: &Options) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("portolan-bench-").tempdir()?;
    let folder = folder.path();
    let server = ApiServer::start(program, folder).await?;
    let kinds: Vec<Kind> = [
        Some(Kind::Portolan(program.to_owned())),
        options.coredns.clone().map(Kind::CoreDns),
        Some(Kind::Nsd(options.nsd.clone())),
    ]
    .into_iter()
    .flatten()
    .filter(|kind| options.only.is_empty() || options.only.iter().any(|name| name == kind.name()))
    .collect();
    ensure!(!kinds.is_empty(), "there is no such server; choose portolan, coredns or nsd");
    let few = Records { services: options.services.min(FEW), headless: options.headless.min(FEW) };
    let all = Records { services: options.services, headless: options.headless };
    let kubeconfig = server.kubeconfig.clone();
    let start = async |kind: &Kind, how: How<'_>| kind.start(folder, &kubeconfig, all, how).await;
    let mixes = || {
        let wanted = |mix: &Mix| options.mix.is_empty() || options.mix.iter().any(|name| name == mix.name);
        mixes::all(all).into_iter().filter(wanted)
    };
    if options.instructions {
        fill(&server.client, all, Records::default()).await?;
        let _upstream = subjects::upstream(&options.nsd, folder).await?;
        for kind in kinds.iter().filter(|kind| !matches!(kind, Kind::CoreDns(_))) {
            let counts = folder.join(format!("{}-counts", kind.name()));
            let subject = start(kind, How::Counted(&counts)).await?;
            // What is asked once each cannot be asked once more.
            for mix in mixes().filter(|mix| mix.name != mixes::FORWARDED) {
                count(&mix, &subject, folder, &counts)?;
            }
        }
        return Ok(());
    }

    fill(&server.client, few, Records::default()).await?;
    let mut times = BTreeMap::new();
    let mut timed = async |records: Records| -> anyhow::Result<()> {
        for kind in kinds.iter().filter(|kind| kind.watches()) {
            // A cache in front would hide the change for some seconds.
            let subject = start(kind, How::WithoutCache).await?;
            let sample = changes::times(&server.client, &subject, records, options.changes).await?;
            println!(
                "{:<10} {:>7} endpoints: change to answer, ms: {}",
                kind.name(),
                records.endpoints(),
                sample.tail()
            );
            times.entry(kind.name()).or_insert_with(Vec::new).push(sample.median());
        }
        Ok(())
    };
    timed(few).await?;
    fill(&server.client, all, few).await?;
    timed(all).await?;
    for (name, medians) in &times {
        if let [few, many] = medians.as_slice() {
            println!("{name:<10} many endpoints : few, p50: {:.2}x", many / few);
        }
    }

    let _upstream = subjects::upstream(&options.nsd, folder).await?;
    let mut subjects = Vec::new();
    for kind in &kinds {
        let subject = start(kind, How::Cached).await?;
        println!("{:<10} serves after {:.2} s", kind.name(), subject.started.as_secs_f64());
        subjects.push(subject);
    }
    tokio::time::sleep(REST).await;
    memory("at rest", &subjects);
    for mix in mixes() {
        compare(&mix, &subjects, options, folder)?;
    }
    memory("after the questions", &subjects);
    subjects.iter().for_each(|subject| usage::forget_peak(subject.id()));
    drop(server);
    let _server = ApiServer::start(program, folder).await?;
    tokio::time::sleep(REST).await;
    memory("after a restart of the API server", &subjects);
    Ok(())
}

/// Writes the objects of these records that are not there yet.
async fn fill(client: &Client, records: Records, there: Records) -> anyhow::Result<()> {
    if there.services == 0 {
        for namespace in records::namespaces() {
            call(client, "POST", "/api/v1/namespaces", &namespace).await?;
        }
    }
    stream::iter(records.objects(there))
        .map(|(collection, object)| async move { call(client, "POST", &collection, &object).await })
        .buffer_unordered(WRITERS)
        .try_collect::<Vec<_>>()
        .await
        .map(drop)
}

/// Asks one mix of every server in turn, and prints ratios first.
fn compare(mix: &Mix, subjects: &[Subject], options: &Options, folder: &Path) -> anyhow::Result<()> {
    let file = folder.join(mix.name);
    std::fs::write(&file, &mix.queries)?;
    let mut runs: Vec<Vec<Run>> = subjects.iter().map(|_| Vec::new()).collect();
    for round in 0..=options.rounds {
        for (subject, runs) in subjects.iter().zip(&mut runs) {
            let run = load::ask(subject, &file, options.seconds)?;
            // The first round fills caches and is not counted.
            if round > 0 {
                runs.push(run);
            }
        }
    }
    let figure = |runs: &[Run], of: fn(&Run) -> f64| runs.iter().map(of).collect::<Sample>();
    let rates: Vec<f64> = runs.iter().map(|runs| figure(runs, Run::per_cpu_second).median()).collect();
    println!("\n{}: {}", mix.name, mix.what);
    for (other, rate) in subjects.iter().zip(&rates).skip(1) {
        println!("  {} : {} = {:.2}x", subjects[0].name, other.name, rates[0] / rate);
    }
    println!(
        "  {:<10} {:>28} {:>9} {:>9} {:>9} {:>6} {:>7}  rcodes",
        "", "queries per CPU-second", "user us", "kernel us", "queries/s", "lost", "bytes"
    );
    for (subject, runs) in subjects.iter().zip(&runs) {
        println!(
            "  {:<10} {:>28} {:>9.2} {:>9.2} {:>9.0} {:>6.0} {:>7.0}  {}",
            subject.name,
            figure(runs, Run::per_cpu_second).spread(0),
            figure(runs, Run::user_micros).median(),
            figure(runs, Run::kernel_micros).median(),
            figure(runs, |run| run.per_second).median(),
            runs.iter().map(|run| run.lost).sum::<f64>(),
            figure(runs, |run| run.bytes).median(),
            runs.last().map_or("", |run| &run.rcodes),
        );
    }
    Ok(())
}

/// Counts and prints what an answer of a mix takes.
fn count(mix: &Mix, subject: &Subject, folder: &Path, counts: &Path) -> anyhow::Result<()> {
    let file = folder.join(mix.name);
    std::fs::write(&file, &mix.queries)?;
    let count = instructions::count(subject, mix, &file, counts)?;
    let told: Vec<_> = count.told.into_iter().collect();
    let told = if told.is_empty() { "none".to_owned() } else { told.join(", ") };
    println!(
        "{:<10} {:<10} {:>7.0} instructions an answer; functions that lock or allocate: {told}",
        mix.name, subject.name, count.per_answer
    );
    Ok(())
}

fn memory(when: &str, subjects: &[Subject]) {
    println!("\nmemory {when}, MiB resident now / at most");
    for subject in subjects {
        let (now, peak) = usage::memory_mib(subject.id());
        println!("  {:<10} {now:>6.1} / {peak:.1}", subject.name);
    }
}
