//! Durable creates and watch latency of the embedded store, beside etcd on the same disk.
//!
//! Both are used as an API server uses them: the store in the process, etcd over gRPC on the loopback
//! address. Rounds alternate, so that a disturbance of the machine meets both.

mod subject;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use futures::future::try_join_all;

use crate::figures::Sample;
use subject::Subject;

/// The options of `bench store`.
#[derive(Args)]
pub(crate) struct Options {
    /// Where both keep their files [default: the folder for temporary files]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Rounds for each number of writers
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of one round
    #[arg(long, default_value_t = 2)]
    seconds: u64,
}

const WRITERS: [usize; 4] = [1, 16, 64, 256];
const VALUE: usize = 1024;
/// The rate and the number of writes at which watch latency is taken.
const RATE: u32 = 200;
const WATCHED: usize = 1000;
/// How long the last events of a watch may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Measures and prints.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let parent = options.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = tempfile::Builder::new().prefix("portolan-bench-").tempdir_in(parent)?;
    let subjects = [Subject::local(folder.path())?, Subject::etcd(folder.path()).await?];
    let syncs = sync_millis(folder.path())?;
    println!("one write and fdatasync of 1 KiB on this disk, ms:   {}", syncs.tail());
    println!("durable creates of 1 KiB per second, median (least-most) of {} rounds:", options.rounds);
    println!("  {:>8} {:>26} {:>26} {:>8}", "writers", "portolan's store", "etcd", "ratio");
    for writers in WRITERS {
        let mut rates = [Vec::new(), Vec::new()];
        for round in 0..options.rounds {
            // Who goes first changes, too.
            for turn in 0..2 {
                let which = (round + turn) % 2;
                let time = Duration::from_secs(options.seconds);
                rates[which]
                    .push(creates(&subjects[which], &format!("/c{writers}/{round}/"), writers, time).await?);
            }
        }
        let [local, etcd] = rates.map(|rates| rates.into_iter().collect::<Sample>());
        let ratio = local.median() / etcd.median();
        println!("  {writers:>8} {:>26} {:>26} {ratio:>7.1}x", local.spread(0), etcd.spread(0));
    }
    println!("from a write's start to its event in a watch, {WATCHED} writes at {RATE}/s, ms:");
    for round in 0..3 {
        for subject in &subjects {
            println!("  {:8} {}", subject.name(), latency(subject, &format!("/w{round}/")).await?.tail());
        }
    }
    Ok(())
}

/// What the disk itself takes, for comparison.
fn sync_millis(folder: &Path) -> anyhow::Result<Sample> {
    use std::io::Write;
    let mut file = std::fs::File::create(folder.join("sync"))?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let begin = Instant::now();
        file.write_all(&[7; VALUE])?;
        file.sync_data()?;
        times.push(begin.elapsed());
    }
    Ok(Sample::of_millis(times))
}

/// Creates keys for some time; returns acknowledged creates per second.
async fn creates(subject: &Subject, prefix: &str, writers: usize, time: Duration) -> anyhow::Result<f64> {
    let done = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let tasks = (0..writers).map(|writer| {
        let (subject, done, prefix) = (subject.clone(), done.clone(), format!("{prefix}{writer}/"));
        tokio::spawn(async move {
            while begin.elapsed() < time {
                let number = done.fetch_add(1, Ordering::Relaxed);
                subject.create(writer, format!("{prefix}{number}"), vec![b'v'; VALUE]).await?;
            }
            anyhow::Ok(())
        })
    });
    for result in try_join_all(tasks).await? {
        result?;
    }
    Ok(done.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64())
}

/// Writes at a moderate rate and waits for each key in a watch.
async fn latency(subject: &Subject, prefix: &str) -> anyhow::Result<Sample> {
    let mut watch = subject.watch(prefix).await?;
    let begin = Instant::now();
    let due = |number: usize| begin + Duration::from_secs(1) / RATE * number as u32;
    let writes = async {
        let mut tasks = Vec::new();
        for number in 0..WATCHED {
            tokio::time::sleep_until(due(number).into()).await;
            let (subject, key) = (subject.clone(), format!("{prefix}{number:06}"));
            let started = Instant::now();
            tasks.push(tokio::spawn(async move {
                subject.create(0, key, vec![b'v'; VALUE]).await.map(|()| started)
            }));
        }
        let mut started = Vec::new();
        for task in tasks {
            started.push(task.await??);
        }
        anyhow::Ok(started)
    };
    let events = async {
        let mut seen = vec![None; WATCHED];
        let mut missing = WATCHED;
        while missing > 0 {
            let keys = tokio::time::timeout(PATIENCE, watch.next()).await??;
            let now = Instant::now();
            for key in keys {
                let number: usize = key.strip_prefix(prefix).unwrap_or_default().parse()?;
                if let Some(place @ None) = seen.get_mut(number) {
                    *place = Some(now);
                    missing -= 1;
                }
            }
        }
        anyhow::Ok(seen)
    };
    let (started, seen) = tokio::try_join!(writes, events)?;
    let pairs = started.into_iter().zip(seen.into_iter().flatten());
    Ok(Sample::of_millis(pairs.map(|(start, seen)| seen.saturating_duration_since(start))))
}
