//! Removing a cluster: its process, its pods, its namespaces, its data. Continues over errors.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use testbed::{Namespace, Sandbox};

use super::record::Record;
use super::{cgroup, default_data_dir};

/// A process that was asked to stop has this long.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked whether it has.
const STEP: Duration = Duration::from_millis(20);

/// Removes every trace of a cluster; false if there was none.
///
/// # Errors
/// All that could not be removed.
pub(crate) async fn remove(name: &str, data_dir: Option<PathBuf>) -> Result<bool, Vec<anyhow::Error>> {
    let record = Record::read(name).map_err(|error| vec![error])?;
    let recorded = record.as_ref().map(|record| record.data_dir.clone());
    let data_dir = data_dir.or(recorded).unwrap_or_else(|| default_data_dir(name));
    if record.is_none() && !data_dir.exists() && !Sandbox::exists(name) {
        return Ok(false);
    }
    let mut errors = Vec::new();
    if let Some(record) = &record {
        errors.extend(end_process(record).await.err());
    }
    for node in nodes(&data_dir, record.as_ref()) {
        errors.extend(remove_node(node).await.err());
    }
    errors.extend(Sandbox::remove(name).into_iter().map(Into::into));
    match fs::remove_dir_all(&data_dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            errors.push(anyhow!(error).context(format!("{} cannot be removed", data_dir.display())));
        }
        _ => {}
    }
    if errors.is_empty() {
        errors.extend(Record::remove(name).err().map(Into::into));
    }
    if errors.is_empty() { Ok(true) } else { Err(errors) }
}

/// One node to remove, and the namespace it is in.
struct Remains {
    config: node::Config,
    namespace: Option<Namespace>,
}

/// The nodes of the record; without one, those whose data is there.
fn nodes(data_dir: &std::path::Path, record: Option<&Record>) -> Vec<Remains> {
    let names: Vec<String> = match record {
        Some(record) => record.nodes.iter().map(|node| node.name.clone()).collect(),
        None => {
            let folders = fs::read_dir(data_dir.join("nodes")).into_iter().flatten().flatten();
            folders.filter_map(|folder| folder.file_name().into_string().ok()).collect()
        }
    };
    let remains = names.into_iter().map(|name| Remains {
        namespace: Namespace::open(&name).ok(),
        config: node::Config {
            internal_ip: [0, 0, 0, 0].into(),
            data_dir: data_dir.join("nodes").join(&name),
            runtime_endpoint: record.and_then(|record| record.runtime_endpoint.clone()),
            images_dir: data_dir.join("images"),
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
