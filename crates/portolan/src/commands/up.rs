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

/// What a thread that answers may put on its stack. Documents nest up to a hundred deep, and what reads each level is
/// large in a program that was built without optimizing. Memory is taken only where it is used.
pub(crate) const STACK: usize = 16 * 1024 * 1024;

/// The runtime of the control plane; nodes have threads of their own.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).thread_stack_size(STACK).enable_all().build()
}
