//! `portolan proxy`: kube-proxy's work, once or for as long as it runs, or only shown.

mod cluster;
pub(crate) mod flags;
pub(crate) mod objects;
mod revisions;
pub(crate) mod settings;

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use proxy::configuration::Duties;
use proxy::{ModeName, Touched};

use super::parts;
use crate::host;
use settings::Settings;

const EXAMPLES: &str = "\
Examples:
  portolan proxy --kubeconfig FILE                            in place of kube-proxy, until it is told to stop
  portolan proxy --config FILE                                the same; follows the file when it changes
  portolan proxy --once --dry-run -f objects.yaml --node N    what would be loaded, without root
  portolan proxy --diff -f objects.yaml --node N              what would change on this machine
  portolan proxy --cleanup                                    remove the rules of all modes

-h shows the first settings, --help all. A configuration file with every setting: --write-config-to FILE";

/// The options of `portolan proxy`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(flatten)]
    settings: Settings,
    /// Work from Kubernetes objects in these files or directories in place of an API server; - for standard input
    #[arg(short, long, value_name = "FILE")]
    filename: Vec<PathBuf>,
    /// Program the rules once, then exit
    #[arg(long)]
    once: bool,
    /// Print the rules in place of programming them
    #[arg(long)]
    dry_run: bool,
    /// Print what would change: against the rules of this machine, or against those that the objects in FILE give
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    diff: Option<Option<PathBuf>>,
    /// Remove the rules of all modes and exit
    #[arg(long)]
    cleanup: bool,
    /// Make the settings of the kernel that need root and exit
    #[arg(long)]
    init_only: bool,
    /// Write the configuration to this file and exit
    #[arg(long, value_name = "FILE")]
    write_config_to: Option<PathBuf>,
}

/// `portolan proxy`.
pub(crate) fn main(options: &Options) -> anyhow::Result<()> {
    let settings = &options.settings;
    let text = settings.text()?;
    let configuration = settings.configuration_of(text.as_deref())?;
    if let Some(file) = &options.write_config_to {
        let text = serde_json::to_string_pretty(&configuration.complete())?;
        return std::fs::write(file, text + "\n")
            .with_context(|| format!("{} cannot be written", file.display()));
    }
    if options.cleanup {
        host::require_root("proxy --cleanup")?;
        proxy::cleanup_all()?;
        return parts::run(async { Ok(proxy::keep_dns_local(&[]).await?) });
    }
    let duties = configuration.duties()?;
    if options.init_only {
        host::require_root("proxy --init-only")?;
        duties.conntrack.apply();
        return Ok(());
    }
    if options.dry_run || options.diff.is_some() {
        return show(options);
    }
    host::require_root("proxy")?;
    let config = settings.config(&configuration)?;
    if options.once || !options.filename.is_empty() {
        anyhow::ensure!(
            options.once,
            "-f has the rules of these objects; add --once to program them, or --dry-run to see them"
        );
        anyhow::ensure!(
            config.mode != ModeName::Userspace,
            "userspace mode serves connections itself, so it cannot program rules once and exit; leave out --once"
        );
        return parts::run(async {
            let interfaces = proxy::interface_addresses().await;
            let still = settings.still(&options.filename, interfaces).await?;
            let mut mode = proxy::start(&config)?;
            let report = mode.sync(&still.sight(), &Touched::Everything)?;
            proxy::cleanup_others(&config)?;
            tracing::info!(mode = %config.mode, elements = report.elements, "Service rules loaded");
            Ok(())
        });
    }
    settle(&duties);
    parts::run(async {
        let client = cluster::client(&configuration).await?;
        let mode = proxy::start(&config)?;
        let revisions = revisions::revisions(settings, text, &configuration);
        Ok(proxy::run_revised(client, config, duties, mode, revisions, parts::stop()).await?)
    })
}

/// Makes the settings of kernel and process that are no rules.
fn settle(duties: &Duties) {
    duties.conntrack.apply();
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", duties.oom_score_adj.to_string()) {
        tracing::debug!(%error, "this process is as likely as others to be killed for want of memory");
    }
}

/// Prints the rules or their difference. Needs no root, unless the rules of this machine are asked for.
fn show(options: &Options) -> anyhow::Result<()> {
    let still = parts::run(options.settings.still(&options.filename, Vec::new()))?;
    let rules = proxy::compile(&still.sight())?;
    let Some(against) = &options.diff else {
        return write(&rules.to_string());
    };
    let difference = match against {
        Some(file) => {
            let other = parts::run(options.settings.still(std::slice::from_ref(file), Vec::new()))?;
            rules.difference(&proxy::compile(&other.sight())?)
        }
        None => {
            host::require_root("proxy --diff")?;
            let (held, wanted) = proxy::held_and_wanted(&still.sight())?;
            wanted.difference(&held)
        }
    };
    write(&difference)
}

/// Writes to standard output; a reader that has seen enough is no error.
pub(crate) fn write(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
