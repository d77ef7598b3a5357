//! From a pod's readiness to the first packet that reaches it through the ClusterIP.
//!
//! A Deployment is scaled from 0 to 1 and back, many times. The clock of a round starts when a watch
//! of this process receives the pod with its condition Ready true. On each node a prober opens
//! connections to the ClusterIP, whose only endpoint the pod is; a connection that is established has
//! sent a packet to the pod and had one back.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use testbed::Namespace;

use crate::cluster::{Cluster, PATIENCE};
use crate::figures::Sample;
use crate::prober::{Goal, reached};
use crate::{tutorial, watching};

/// The options of `bench ready`.
#[derive(Args)]
pub(crate) struct Options {
    /// How many times to scale up
    #[arg(long, default_value_t = 100)]
    rounds: usize,
}

/// The label of the Service's slices.
const SLICES: &str = "kubernetes.io/service-name=httpd-svc";
/// How many equivalent writes tell what the start of the clock leaves out.
const WRITES: usize = 100;

/// When one new pod came to what, from its readiness on.
struct Round {
    slice: f64,
    first_node: f64,
    last_node: f64,
    one_node: f64,
    scale_to_ready: f64,
    silent: usize,
}

/// Measures and prints.
pub(crate) async fn run(program: &Path, options: &Options) -> anyhow::Result<()> {
    let mut cluster = Cluster::prepare(program)?;
    cluster.start()?;
    cluster.ready().await?;
    let client = cluster.client().await?;
    let names = (1..=Cluster::NODES).map(|number| format!("node{number}"));
    let nodes = names.map(|name| cluster.machine(&name)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut deployment: Deployment = tutorial::read(tutorial::DEPLOYMENT)?;
    let spec = deployment.spec.as_mut().context("a Deployment without spec")?;
    spec.replicas = Some(0);
    if let Some(pod) = &mut spec.template.spec {
        pod.termination_grace_period_seconds = Some(1);
    }
    tutorial::create(&client, &deployment).await?;
    let service: Service = tutorial::create(&client, &tutorial::read(tutorial::SERVICE)?).await?;
    let address = tutorial::address(&service)?;
    // The first pod of each node unpacks its image; that is no part of the question.
    scale(&client, 2 * Cluster::NODES as u32).await?;
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    watching::until(pods.clone(), tutorial::LABEL, 2 * Cluster::NODES, tutorial::pod_is_ready).await?;
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        empty(&client, &nodes, address).await?;
        rounds.push(one(&client, &nodes, address).await?);
    }
    println!("{} scale-ups from 0 to 1, ms:", rounds.len());
    let row = |what: &str, value: fn(&Round) -> f64| {
        println!("  {what:58} {}", rounds.iter().map(value).collect::<Sample>().tail());
    };
    row("pod Ready -> first packet through the ClusterIP (node1)", |r| r.one_node);
    row("pod Ready -> ... from the first of the nodes", |r| r.first_node);
    row("pod Ready -> ... from every node", |r| r.last_node);
    row("  of it: pod Ready -> EndpointSlice", |r| r.slice);
    row("  of it: EndpointSlice -> rules, first packet, every node", |r| r.last_node - r.slice);
    row("not in it: scaled -> pod Ready", |r| r.scale_to_ready);
    let silent = rounds.iter().filter(|round| round.silent > 0).count();
    println!("rounds with connections that were neither established nor refused: {silent}");
    let (answered, seen) = writes(&client).await?;
    println!("not in it: a write to a pod like the one of its status, {WRITES} times, ms:");
    println!("  {:58} {}", "sent -> answered", answered.tail());
    println!("  {:58} {}", "sent -> seen in a watch (the start of the clock)", seen.tail());
    Ok(())
}

async fn scale(client: &Client, replicas: u32) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
    deployments.patch_scale("httpd", &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Takes all pods away and waits until no node leads anywhere.
async fn empty(client: &Client, nodes: &[Namespace], address: SocketAddr) -> anyhow::Result<()> {
    scale(client, 0).await?;
    try_join_all(nodes.iter().map(|node| reached(node, address, Goal::Refused, PATIENCE))).await?;
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let begin = Instant::now();
    while !pods.list(&ListParams::default().labels(tutorial::LABEL)).await?.items.is_empty() {
        anyhow::ensure!(begin.elapsed() < PATIENCE, "the pods do not go");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn one(client: &Client, nodes: &[Namespace], address: SocketAddr) -> anyhow::Result<Round> {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let slices: Api<EndpointSlice> = Api::default_namespaced(client.clone());
    let begin = Instant::now();
    let probers = nodes.iter().map(|node| reached(node, address, Goal::Connected, PATIENCE));
    let ((), ready, slice, packets) = tokio::try_join!(
        scale(client, 1),
        watching::until(pods, tutorial::LABEL, 1, tutorial::pod_is_ready),
        watching::until(slices, SLICES, 1, has_ready_endpoint),
        try_join_all(probers),
    )?;
    let after = |when: Instant| millis(ready, when);
    let latencies: Sample = packets.iter().map(|packet| after(packet.at)).collect();
    Ok(Round {
        slice: after(slice),
        first_node: latencies.quantile(0.0),
        last_node: latencies.quantile(1.0),
        one_node: packets.first().map_or(f64::NAN, |packet| after(packet.at)),
        silent: packets.iter().map(|packet| packet.silent).sum(),
        scale_to_ready: millis(begin, ready),
    })
}

/// Milliseconds from one instant to another, negative if it was before.
fn millis(from: Instant, to: Instant) -> f64 {
    (to.saturating_duration_since(from).as_secs_f64() - from.saturating_duration_since(to).as_secs_f64())
        * 1e3
}

fn has_ready_endpoint(slice: &EndpointSlice) -> bool {
    let endpoints = slice.endpoints.iter().flatten();
    endpoints.filter_map(|endpoint| endpoint.conditions.as_ref()?.ready).any(|ready| ready)
}

/// Annotates the pod that is there, again and again: from a write's start to its answer, and to its
/// event in a watch.
async fn writes(client: &Client) -> anyhow::Result<(Sample, Sample)> {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let list = pods.list(&ListParams::default().labels(tutorial::LABEL)).await?;
    let name = list.items.first().context("there is no pod to annotate")?.name_any();
    let (mut answered, mut seen) = (Vec::new(), Vec::new());
    for number in 0..WRITES {
        let value = number.to_string();
        let written = |pod: &Pod| pod.annotations().get("bench/round") == Some(&value);
        let write = async {
            // The watch must be there first.
            tokio::time::sleep(Duration::from_millis(20)).await;
            let begin = Instant::now();
            let patch = Patch::Merge(json!({ "metadata": { "annotations": { "bench/round": value } } }));
            pods.patch(&name, &PatchParams::default(), &patch).await?;
            Ok((begin, Instant::now()))
        };
        let ((begin, answer), event) =
            tokio::try_join!(write, watching::until(pods.clone(), tutorial::LABEL, 1, written))?;
        answered.push(millis(begin, answer));
        seen.push(millis(begin, event));
    }
    Ok((answered.into_iter().collect(), seen.into_iter().collect()))
}
