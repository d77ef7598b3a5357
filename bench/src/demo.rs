//! From the start of a three-node sandbox to the first answer through a ClusterIP.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;

use crate::cluster::{Cluster, PATIENCE};
use crate::figures::Sample;
use crate::prober::{Goal, reached};
use crate::process::{Process, free_port};
use crate::{tutorial, watching};

/// The options of `bench demo`.
#[derive(Args)]
pub(crate) struct Options {
    /// How many clusters to start
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// How often to play the first steps of `portolan demo` besides
    #[arg(long, default_value_t = 3)]
    demos: usize,
}

/// When one cluster came to what, from its start on.
struct Milestones {
    api: Duration,
    nodes: Duration,
    ready_line: Duration,
    first_answer: Duration,
    all_pods: Duration,
}

/// Measures and prints.
pub(crate) async fn run(program: &Path, options: &Options) -> anyhow::Result<()> {
    let mut runs = Vec::new();
    for _ in 0..options.runs {
        runs.push(start_one(program).await?);
    }
    println!("portolan up --sandbox 3, empty data directory, images in it; ms after the start,");
    println!("median (least-most) of {} runs:", runs.len());
    type Stage = (&'static str, fn(&Milestones) -> Duration);
    let stages: [Stage; 5] = [
        ("the API server serves", |m| m.api),
        ("all nodes are Ready", |m| m.nodes),
        ("`ready` is printed", |m| m.ready_line),
        ("first answer through the ClusterIP", |m| m.first_answer),
        ("all pods are Ready", |m| m.all_pods),
    ];
    for (what, when) in stages {
        println!("  {what:36} {}", Sample::of_millis(runs.iter().map(when)).spread(0));
    }
    let mut printed = Vec::new();
    for _ in 0..options.demos {
        printed.push(as_the_demo_prints(program)?);
    }
    let printed: Sample = printed.into_iter().collect();
    println!("portolan demo, kubectl's part included: the first answer as it prints it, in s:");
    println!("  {:36} {}", "first answer through the ClusterIP", printed.spread(1));
    Ok(())
}

async fn start_one(program: &Path) -> anyhow::Result<Milestones> {
    let mut cluster = Cluster::prepare(program)?;
    let begin = cluster.start()?;
    let client = cluster.client().await?;
    let api = begin.elapsed();
    let address = tutorial::apply(&client).await?;
    let node = cluster.machine("node1")?;
    let ready = async { cluster.ready().await.map(|()| Instant::now()) };
    let nodes: Api<Node> = Api::all(client.clone());
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let (ready_line, nodes, all_pods, first_answer) = tokio::try_join!(
        ready,
        watching::until(nodes, "", Cluster::NODES, tutorial::node_is_ready),
        watching::until(pods, tutorial::LABEL, tutorial::REPLICAS, tutorial::pod_is_ready),
        reached(&node, address, Goal::Answered, PATIENCE),
    )?;
    Ok(Milestones {
        api,
        nodes: nodes - begin,
        ready_line: ready_line - begin,
        first_answer: first_answer.at - begin,
        all_pods: all_pods - begin,
    })
}

/// Plays `portolan demo` up to the line that tells of the first answer; it removes its cluster itself.
fn as_the_demo_prints(program: &Path) -> anyhow::Result<f64> {
    let mut command = Command::new(program);
    command.args(["demo", "--name", &format!("d{}", std::process::id())]);
    command.args(["--bind", &format!("127.0.0.1:{}", free_port()?)]);
    let mut demo = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::null()))?;
    let output = demo.0.stdout.take().context("the demo has no output")?;
    let told = BufReader::new(output).lines().map_while(Result::ok).find_map(|line| {
        let (_, seconds) = line.split_once("first answer through the ClusterIP ")?;
        seconds.split(' ').next()?.parse().ok()
    });
    told.context("the demo has ended before its first answer; run it by hand to see why")
}
