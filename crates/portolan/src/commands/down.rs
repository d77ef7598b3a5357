//! `portolan down`: the end of a cluster, also of one whose process has died.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use crate::{cluster, host};

/// The options of `portolan down`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The cluster's name
    #[arg(long, default_value = cluster::DEFAULT_NAME, value_parser = cluster::parse_name)]
    name: String,
    /// Where the cluster keeps its data [default: where it was started with]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Removes a cluster.
pub(crate) fn main(options: &Options) -> anyhow::Result<()> {
    host::require_root("down")?;
    let removed = super::up::runtime()?.block_on(cluster::remove(&options.name, options.data_dir.clone()));
    match removed {
        Ok(true) => println!("cluster {} is removed", options.name),
        Ok(false) => println!("there is no cluster {}; nothing was removed", options.name),
        Err(errors) => {
            let list: Vec<String> = errors.iter().map(|error| format!("\n  {error:#}")).collect();
            bail!("some parts of cluster {} could not be removed:{}", options.name, list.concat());
        }
    }
    Ok(())
}
