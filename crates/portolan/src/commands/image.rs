//! `portolan image load`: archives for all nodes of a cluster, by the folder from which they import.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use follow::{Event, Selection};
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Node;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::parts;
use crate::cluster;
use crate::cluster::record::Record;

/// All nodes have this long to import.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often a node that shows the names already is asked whether they are the new ones: its book has no event.
const STEP: Duration = Duration::from_millis(50);
/// Digits of a content's digest in the name of a second file of the same name.
const DIGITS: usize = 12;

/// The options of `portolan image`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// Give image archives to all nodes of a cluster
    Load(Load),
}

#[derive(Args, Clone, Debug)]
struct Load {
    /// Archives as `docker save` and others write them (docker or OCI)
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The cluster's name
    #[arg(long, default_value = cluster::DEFAULT_NAME, value_parser = cluster::parse_name)]
    name: String,
    /// Where the cluster keeps its data [default: where it was started with]
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    data_dir: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn main(options: &Options) -> anyhow::Result<()> {
    let Command::Load(load) = &options.command;
    let record = load.record()?;
    let refused = |file: &Path| format!("{} is no archive of images that could be loaded", file.display());
    for file in &load.files {
        let names = node::image::inspect(file).with_context(|| refused(file))?;
        if names.is_empty() {
            bail!("the images in {} have no names, so that no pod could use them", file.display());
        }
    }
    let mut placed = Vec::new();
    for file in &load.files {
        let archive = place(file, &record.data_dir.join("images"))?;
        println!("{}: {}", file.display(), archive.names.join(", "));
        placed.push(archive);
    }
    if !record.is_running() {
        println!("cluster {} does not run; its nodes import at their next start", record.name);
        return Ok(());
    }
    parts::run(async {
        let waited = tokio::time::timeout(PATIENCE, wait(&record, &placed)).await;
        waited.with_context(|| format!("not all nodes have imported within {} s", PATIENCE.as_secs()))?
    })
}

impl Load {
    fn record(&self) -> anyhow::Result<Record> {
        let missing = || match &self.data_dir {
            Some(data_dir) => format!("{} holds no cluster's data", data_dir.display()),
            None => format!("there is no cluster {}; `portolan up` starts one", self.name),
        };
        let name = match &self.data_dir {
            Some(data_dir) => Record::in_data_dir(data_dir)?.with_context(missing)?.name,
            None => self.name.clone(),
        };
        Record::find(&name, self.data_dir.as_deref())?.with_context(missing)
    }
}

/// An archive in the cluster's folder.
#[derive(Debug)]
struct Placed {
    path: PathBuf,
    names: Vec<String>,
}

/// Copies an archive to the folder: whole or not at all, and never over another.
fn place(file: &Path, folder: &Path) -> anyhow::Result<Placed> {
    let failed = || format!("{} cannot be copied to {}", file.display(), folder.display());
    fs::create_dir_all(folder).with_context(failed)?;
    let digest = node::image::digest(file).with_context(failed)?;
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let stem = stem.map(|stem| stem.trim_start_matches('.').to_owned()).filter(|stem| !stem.is_empty());
    let stem = stem.unwrap_or_else(|| "image".into());
    for name in [format!("{stem}.tar"), format!("{stem}-{}.tar", &digest[..DIGITS])] {
        let target = folder.join(name);
        match node::image::digest(&target) {
            Ok(other) if other == digest => {
                return Ok(Placed { names: node::image::inspect(&target)?, path: target });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let names = copy(file, &target).with_context(failed)?;
                return Ok(Placed { path: target, names });
            }
            Err(error) => return Err(error).with_context(failed),
        }
    }
    bail!("{} holds other files named {stem}.tar; give this one another name", folder.display())
}

/// Copies beside the target first. What counts is what has been copied, so that is looked at again.
fn copy(file: &Path, target: &Path) -> anyhow::Result<Vec<String>> {
    let partial = target.with_extension(format!("partial-{}", std::process::id()));
    let copied = || -> anyhow::Result<Vec<String>> {
        let mut to = File::create_new(&partial)?;
        io::copy(&mut File::open(file)?, &mut to)?;
        to.sync_all()?;
        let names = node::image::inspect(&partial)?;
        renameat_with(CWD, &partial, CWD, target, RenameFlags::NOREPLACE)?;
        Ok(names)
    };
    copied().inspect_err(|_| drop(fs::remove_file(&partial)))
}

/// Waits until every node of the cluster has imported all of it, and tells of each.
async fn wait(record: &Record, placed: &[Placed]) -> anyhow::Result<()> {
    let begun = Instant::now();
    let client = client(record).await?;
    let nodes = Api::<Node>::all(client.clone());
    let mut left: BTreeSet<String> = {
        let own: BTreeSet<&str> = record.nodes.iter().map(|node| node.name.as_str()).collect();
        let all = nodes.list(&Default::default()).await?;
        all.iter().map(ResourceExt::name_any).filter(|name| own.contains(name.as_str())).collect()
    };
    println!("waiting for {} of cluster {}", count(left.len(), "node"), record.name);
    let events = follow::objects::<Node>(client, Selection::all());
    pin_mut!(events);
    while !left.is_empty() {
        let event = events.next().await.context("the watch of nodes has ended")?;
        let Event::Apply(node) = event else { continue };
        let name = node.name_any();
        if !left.contains(&name) || !placed.iter().all(|archive| has(&node, &archive.names)) {
            continue;
        }
        // The names may be those of other images from before.
        let data_dir = record.data_dir.join("nodes").join(&name);
        while !placed.iter().all(|archive| node::image::has_imported(&data_dir, &archive.path)) {
            tokio::time::sleep(STEP).await;
        }
        left.remove(&name);
        println!("{name} has them after {:.1} s", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

/// A client for the cluster's API server, by its own entry of the kubeconfig.
async fn client(record: &Record) -> anyhow::Result<Client> {
    let file = record.kubeconfig.clone().unwrap_or_else(|| record.data_dir.join("kubeconfig"));
    let failed = || format!("the kubeconfig {} cannot be used", file.display());
    let kubeconfig = Kubeconfig::read_from(&file).with_context(failed)?;
    let options = KubeConfigOptions { context: Some(record.name.clone()), ..Default::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.with_context(failed)?;
    Ok(Client::try_from(config)?)
}

/// Whether a node shows all these images.
fn has(node: &Node, names: &[String]) -> bool {
    let images = node.status.iter().flat_map(|status| status.images.iter().flatten());
    let shown: BTreeSet<&String> = images.flat_map(|image| image.names.iter().flatten()).collect();
    names.iter().all(|name| shown.contains(name))
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(name: &str) -> Vec<u8> {
        let names = vec![name.into()];
        node::image::Image { names, entrypoint: vec![], command: vec![], env: vec![], files: vec![] }
            .to_archive()
    }

    #[test]
    fn an_archive_is_placed_whole_once_for_each_content_and_never_over_another() {
        let dir = tempfile::tempdir().expect("a folder can be made");
        let folder = dir.path().join("images");
        let file = dir.path().join("web.tar");
        let write = |bytes: &[u8]| fs::write(&file, bytes).expect("a file can be written");
        let names = || {
            let entries = fs::read_dir(&folder).expect("the folder is there").flatten();
            let mut names: Vec<_> =
                entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        write(&archive("web:1"));
        for _ in 0..2 {
            let placed = place(&file, &folder).expect("it is placed");
            assert_eq!(
                (placed.path, placed.names),
                (folder.join("web.tar"), vec!["docker.io/library/web:1".into()])
            );
        }
        write(&archive("web:2"));
        let second = place(&file, &folder).expect("it is placed beside").path;
        assert_eq!(place(&file, &folder).expect("it is there").path, second);
        assert_eq!(fs::read(folder.join("web.tar")).expect("it stays"), archive("web:1"));
        assert_eq!(names().len(), 2, "{:?}", names());
        write(b"something else");
        place(&file, &folder).expect_err("it is no archive");
        assert_eq!(names().len(), 2, "nothing is left of it: {:?}", names());
        place(&second, &folder).expect("one that is in the folder already");
        assert_eq!(names().len(), 2, "{:?}", names());
    }
}
