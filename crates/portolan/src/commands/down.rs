//! `portolan down`: the end of a cluster, also of one whose process has died.

use anyhow::bail;

use crate::cluster::{Removed, Which};
use crate::{cluster, host};

/// Removes a cluster.
pub(crate) fn main(options: &Which) -> anyhow::Result<()> {
    host::require_root("down")?;
    let name = &options.name;
    let removed = super::up::runtime()?.block_on(cluster::remove(name, options.data_dir.as_deref()));
    match removed {
        Ok(Removed::Cluster { data_dir, left }) => {
            println!("cluster {name} is removed");
            if !left.is_empty() {
                println!("{} stays with what others have put there:", data_dir.display());
                left.iter().for_each(|path| println!("  {}", path.display()));
            }
        }
        Ok(Removed::Nothing) => {
            println!("there is no cluster {name}; nothing was removed");
            if let Some(data_dir) = options.data_dir.as_ref().filter(|data_dir| data_dir.exists()) {
                println!("{} is not the data of such a cluster and stays as it is", data_dir.display());
            }
        }
        Err(errors) => {
            let list: Vec<String> = errors.iter().map(|error| format!("\n  {error:#}")).collect();
            bail!("some parts of cluster {name} could not be removed:{}", list.concat());
        }
    }
    Ok(())
}
