//! `portolan up`: a whole cluster in one process.

use std::io::Write;

use crate::cluster::{Cluster, Options, notify};
use crate::{host, shutdown};

/// Runs the command until it is told to stop.
pub(crate) fn main(options: &Options) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let asked = shutdown::asked();
        tokio::pin!(asked);
        let cluster = tokio::select! {
            started = start(options) => started?,
            asked = &mut asked => return Ok(asked?),
        };
        let kubeconfig = cluster.kubeconfig().display();
        println!("ready kubeconfig={kubeconfig}\n  export KUBECONFIG={kubeconfig}");
        std::io::stdout().flush()?;
        notify::send("READY=1");
        let failed = tokio::select! {
            asked = asked => asked.map_err(Into::into),
            failed = cluster.failed() => Err(failed),
        };
        notify::send("STOPPING=1");
        let name = &options.name;
        eprintln!(
            "stopping. The pods and rules of cluster {name} stay and go on working: portolan up continues it, \
             portolan down --name {name} removes it."
        );
        cluster.stop().await;
        failed
    })
}

/// Checks what can be checked before anything is made, then starts the cluster.
pub(crate) async fn start(options: &Options) -> anyhow::Result<Cluster> {
    host::require_root("up")?;
    host::allow_descriptors();
    if options.container_runtime_endpoint.is_none() {
        host::require_containerd()?;
    }
    Cluster::start(options).await
}

/// The runtime of the control plane; nodes have threads of their own.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
