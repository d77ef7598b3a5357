//! Removing a cluster: its process, its pods, its namespaces, its data. Only what a record of Portolan names is
//! removed. Continues over errors.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use testbed::{Namespace, Sandbox};

use super::record::Record;
use super::{cgroup, data_dir};
use crate::kubeconfig;

/// A process that was asked to stop has this long.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked whether it has.
const STEP: Duration = Duration::from_millis(20);

/// What a removal has done.
#[derive(Debug)]
pub(crate) enum Removed {
    /// There was no record of such a cluster.
    Nothing,
    /// The cluster is gone.
    Cluster {
        /// Where its data was.
        data_dir: PathBuf,
        /// What is left there, since Portolan did not make it.
        left: Vec<PathBuf>,
    },
}

/// Removes every trace of a cluster.
///
/// # Errors
/// All that could not be removed. The record is kept then, so that it can be tried again.
pub(crate) async fn remove(name: &str, data_dir: Option<&Path>) -> Result<Removed, Vec<anyhow::Error>> {
    let Some(record) = Record::find(name, data_dir).map_err(|error| vec![error])? else {
        return Ok(Removed::Nothing);
    };
    let mut errors = Vec::new();
    errors.extend(end_process(&record).await.err());
    for node in nodes(&record) {
        errors.extend(remove_node(node).await.err());
    }
    if record.sandbox {
        errors.extend(Sandbox::remove(name).into_iter().map(Into::into));
    }
    errors.extend(remove_kubeconfig(&record).err());
    if !errors.is_empty() {
        return Err(errors);
    }
    let left = data_dir::remove(&record.data_dir)?;
    record.remove().map_err(|error| vec![error.into()])?;
    Ok(Removed::Cluster { data_dir: record.data_dir, left })
}

fn remove_kubeconfig(record: &Record) -> anyhow::Result<()> {
    let file = record.kubeconfig.clone().unwrap_or_else(|| record.data_dir.join("kubeconfig"));
    // Without its certificate the entries are known by their mark alone.
    let authority = fs::read_to_string(record.data_dir.join("pki/ca.crt")).unwrap_or_default();
    kubeconfig::remove(&file, &record.name, &authority)
}

/// One node to remove, and the namespace it is in.
struct Remains {
    config: node::Config,
    namespace: Option<Namespace>,
}

fn nodes(record: &Record) -> Vec<Remains> {
    let names = record.nodes.iter().map(|node| node.name.clone());
    let remains = names.map(|name| Remains {
        namespace: Namespace::open(&name).ok(),
        config: node::Config {
            internal_ip: [0, 0, 0, 0].into(),
            data_dir: record.data_dir.join("nodes").join(&name),
            runtime_endpoint: record.runtime_endpoint.clone(),
            images_dir: record.data_dir.join("images"),
            cluster_dns: Vec::new(),
            cluster_domain: String::new(),
            client_ca_pem: String::new(),
            program: PathBuf::new(),
            labels: std::collections::BTreeMap::new(),
            port: 0,
            runtime_environment: std::collections::BTreeMap::new(),
            cgroup_parent: cgroup(&name),
            name,
        },
    });
    remains.collect()
}

async fn remove_node(remains: Remains) -> anyhow::Result<()> {
    let name = remains.config.name.clone();
    let work = move || -> anyhow::Result<()> {
        if let Some(namespace) = &remains.namespace {
            namespace.enter()?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let removed = runtime.block_on(node::remove_all(&remains.config));
        let rules = nfnetlink::Socket::open()
            .map_err(anyhow::Error::from)
            .and_then(|mut socket| proxy::cleanup(&mut socket).map_err(anyhow::Error::from));
        let queries = runtime.block_on(proxy::keep_dns_local(&[]));
        removed?;
        rules?;
        Ok(queries?)
    };
    // A thread of its own, since it moves into the node's namespace and must not come back.
    let (done, result) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().spawn(move || drop(done.send(work())))?;
    result.await.context("the thread has panicked")?.with_context(|| format!("node {name}"))
}

/// Ends the cluster's process, gently if possible.
async fn end_process(record: &Record) -> anyhow::Result<()> {
    let Some(pid) = i32::try_from(record.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    for signal in [Signal::TERM, Signal::KILL] {
        let deadline = Instant::now() + PATIENCE;
        if record.pid == std::process::id() || !record.is_running() {
            return Ok(());
        }
        kill_process(pid, signal).with_context(|| format!("process {} cannot be ended", record.pid))?;
        while record.is_running() && Instant::now() < deadline {
            tokio::time::sleep(STEP).await;
        }
    }
    if record.is_running() { Err(anyhow!("process {} does not end", record.pid)) } else { Ok(()) }
}
