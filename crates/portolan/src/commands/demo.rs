//! `portolan demo`: the Service tutorial, played on a cluster of its own.

mod script;

use std::fs;
use std::io::{IsTerminal, Write, stdout};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use tokio::process::Command;

use super::up;
use crate::{cluster, host, shutdown};
use script::{MANIFESTS, STEPS};

/// The folder in a demo's data directory where its commands run; it tells a demo's cluster from others.
const STAGE: &str = "demo";
/// The registry that the tutorial's images come from.
const REGISTRY: (&str, u16) = ("registry-1.docker.io", 443);
/// It has this long to answer; then stand-ins are made.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(2);

/// The options of `portolan demo`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// How many nodes to make
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    sandbox: u16,
    /// The cluster's name; namespaces are called NAME-node1, NAME-client and so on
    #[arg(long, default_value = "demo", value_parser = cluster::parse_name)]
    name: String,
    /// Where the API listens
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6443")]
    bind: SocketAddr,
    /// End after the last step instead of waiting for Ctrl-C
    #[arg(long)]
    exit: bool,
}

/// Starts a cluster, plays the tutorial, and removes the cluster when told to stop.
pub(crate) fn main(options: &Options) -> anyhow::Result<()> {
    host::require_root("demo")?;
    up::runtime()?.block_on(async {
        let asked = shutdown::asked_or_left();
        tokio::pin!(asked);
        let cluster_options = cluster_options(options)?;
        let data_dir = cluster_options.data_dir()?;
        clear_stage(&options.name, &data_dir).await?;
        let played = tokio::select! {
            played = play(options, &cluster_options, &data_dir) => played,
            asked = &mut asked => Ok(asked?),
        };
        // Whoever read our output may be gone; the cluster must go all the same.
        drop(writeln!(stdout(), "\nremoving the cluster"));
        let removed = clear(&options.name, &data_dir).await;
        played?;
        removed
    })
}

/// Removes what an earlier demo left behind, and refuses to remove anything else.
async fn clear_stage(name: &str, data_dir: &Path) -> anyhow::Result<()> {
    cluster::refuse_running(name)?;
    let is_taken = data_dir.exists() || testbed::Sandbox::exists(name);
    if is_taken && !data_dir.join(STAGE).exists() {
        bail!(
            "{name} ({}) is a cluster that no demo has made, and a demo removes its cluster at the end; choose \
             another --name",
            data_dir.display()
        );
    }
    clear(name, data_dir).await
}

/// Removes the demo's cluster with everything that the demo itself has put into its data directory.
async fn clear(name: &str, data_dir: &Path) -> anyhow::Result<()> {
    cluster::remove(name, Some(data_dir)).await.map_err(|errors| {
        let texts: Vec<String> = errors.iter().map(|error| format!("{error:#}")).collect();
        anyhow::anyhow!("some parts of the demo's cluster could not be removed: {}", texts.join("; "))
    })?;
    let stage = data_dir.join(STAGE);
    let files = MANIFESTS.iter().map(|(path, _)| stage.join(path));
    let images = node::image::STAND_INS.iter().map(|name| data_dir.join("images").join(name));
    files.chain(images).for_each(|file| drop(fs::remove_file(file)));
    let folders = MANIFESTS.iter().flat_map(|(path, _)| Path::new(path).ancestors().skip(1));
    let mut folders: Vec<PathBuf> = folders.map(|folder| stage.join(folder)).collect();
    folders.extend([data_dir.join("images"), data_dir.to_owned()]);
    // What others have put there stays.
    folders.iter().for_each(|folder| drop(fs::remove_dir(folder)));
    Ok(())
}

fn cluster_options(options: &Options) -> anyhow::Result<cluster::Options> {
    let arguments = [
        "up",
        "--sandbox",
        &options.sandbox.to_string(),
        "--name",
        &options.name,
        "--bind",
        &options.bind.to_string(),
    ];
    Ok(cluster::Options::parse_from(arguments)?)
}

async fn play(options: &Options, cluster: &cluster::Options, data_dir: &Path) -> anyhow::Result<()> {
    let stage = Stage::prepare(options, data_dir)?;
    let begin = Instant::now();
    let running = up::start(cluster).await?;
    let played = async {
        stage.say(&format!(
            "a cluster of {} nodes is ready after {:.1} s",
            options.sandbox,
            begin.elapsed().as_secs_f32()
        ))?;
        for (number, step) in STEPS.iter().enumerate() {
            stage.title(&format!("{}. {}", number + 1, step.title))?;
            for command in step.commands {
                stage.run(command).await?;
            }
            if step.first_answer {
                stage.say(&format!(
                    "first answer through the ClusterIP {:.1} s after the start",
                    begin.elapsed().as_secs_f32()
                ))?;
            }
        }
        if options.exit {
            return Ok(());
        }
        stage.title("The cluster goes on running. Try it from another terminal:")?;
        writeln!(
            stdout(),
            "  export KUBECONFIG={}\n  kubectl get all\n\nCtrl-C removes it.",
            running.kubeconfig().display()
        )?;
        std::future::pending().await
    };
    let played = tokio::select! {
        played = played => played,
        failed = running.failed() => Err(failed),
        asked = shutdown::asked_or_left() => { asked?; running.stop().await; return Ok(()) }
    };
    running.stop().await;
    played
}

/// Where the commands run: a folder with the manifests, and the variables they use.
struct Stage {
    folder: PathBuf,
    kubeconfig: PathBuf,
    name: String,
    bold: bool,
}

impl Stage {
    fn prepare(options: &Options, data_dir: &Path) -> anyhow::Result<Self> {
        if std::process::Command::new("kubectl").arg("version").arg("--client").output().is_err() {
            bail!("kubectl was not found on PATH; `make demo` installs it");
        }
        let folder = data_dir.join(STAGE);
        for (path, text) in MANIFESTS {
            let file = folder.join(path);
            let parent = file.parent().unwrap_or(&folder);
            fs::create_dir_all(parent).with_context(|| format!("{} cannot be made", parent.display()))?;
            fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))?;
        }
        let stage = Self {
            folder,
            kubeconfig: data_dir.join("kubeconfig"),
            name: options.name.clone(),
            bold: stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        };
        if !registry_answers() {
            stage.say(
                "no image registry is in reach: httpd and busybox are stand-ins made from busybox-static",
            )?;
            node::image::write_stand_ins(&data_dir.join("images"))?;
        }
        Ok(stage)
    }

    fn say(&self, text: &str) -> std::io::Result<()> {
        writeln!(stdout(), "# {text}")
    }

    fn title(&self, text: &str) -> std::io::Result<()> {
        let (on, off) = if self.bold { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        writeln!(stdout(), "\n{on}{text}{off}")
    }

    /// Prints a command as a user would type it, runs it and shows what it says.
    async fn run(&self, command: &str) -> anyhow::Result<()> {
        let command = command.replace("NAME", &self.name);
        writeln!(stdout(), "$ {command}")?;
        let status = Command::new("sh")
            .args(["-c", &command])
            .current_dir(&self.folder)
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .status()
            .await?;
        if !status.success() {
            bail!("the command has failed: {command}");
        }
        Ok(())
    }
}

/// Whether the images of the tutorial can be pulled.
fn registry_answers() -> bool {
    let addresses = REGISTRY.to_socket_addrs().into_iter().flatten();
    addresses.take(1).any(|address| TcpStream::connect_timeout(&address, REGISTRY_TIMEOUT).is_ok())
}
