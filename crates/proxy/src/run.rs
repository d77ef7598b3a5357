//! The proxy at work: events in, rules out, and what others may know of it.

mod health_checks;
mod inputs;
mod interfaces;
mod leftovers;
mod observers;
mod proxy;
mod reporter;
mod revision;
mod scrape;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt, stream};
use tokio::time::MissedTickBehavior;

use crate::config::Config;
use crate::configuration::Duties;
use crate::error::Error;
use crate::health::Health;
use crate::local_dns;
use crate::metrics::Metrics;
use crate::mode::Mode;
pub use interfaces::addresses as interface_addresses;
use observers::Observers;
use proxy::Proxy;
use reporter::Reporter;
pub use revision::Revision;

/// How often to look whether the kernel's table of connections has room.
const LOOK: Duration = Duration::from_secs(10);
/// How long to wait before rules that the kernel refused are loaded again.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the Service rules of a node in step with the API server until `shutdown` is done. Rules stay in place
/// then; connections and new ones go on while no proxy runs. [`crate::cleanup`] removes them.
///
/// The mode decides the network namespace; servers and programs use that of the calling thread. Nothing is written
/// before Services and EndpointSlices are completely listed.
///
/// # Errors
/// [`Error::Load`] and the like when the first rules cannot be loaded, [`Error::Listen`] when a server cannot listen
/// and must, [`Error::WatchEnded`] when there is nothing to wait for any more. Later failures of the kernel are
/// logged and tried again.
pub async fn run(
    client: kube::Client,
    config: Config,
    duties: Duties,
    mode: Box<dyn Mode>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    run_revised(client, config, duties, mode, stream::empty(), shutdown).await
}

/// As [`run`], and goes on with each revision of the configuration as it comes: another mode's rules are loaded
/// before those of the mode that was are removed, and connections that are established go on. A revision that cannot
/// be used, because it says why (`Err`) or because its rules cannot be loaded, is logged and counted; the proxy goes
/// on as before.
///
/// # Errors
/// As [`run`].
pub async fn run_revised(
    mut client: kube::Client,
    config: Config,
    duties: Duties,
    mode: Box<dyn Mode>,
    revisions: impl Stream<Item = Result<Revision, String>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut local_dns = local_dns::Keeper::start(&config.node_local_dns).await;
    let health = Arc::new(Health::new(duties.sync_period));
    let metrics = Arc::new(Metrics::new().map_err(Error::Metrics)?);
    let observers = Observers::start(&duties, config.mode, health.clone(), metrics.clone()).await?;
    observers.count_by(mode.counter());
    let reporter = Reporter::start(client.clone(), &config.node_name);
    let mut proxy = Proxy::new(config, mode, health, metrics, reporter, observers);
    proxy.take_over = duties.take_over;
    let mut batches = inputs::batches(&client, &proxy.config.node_name);
    let (mut revisions, mut shutdown) = (pin!(revisions.fuse()), pin!(shutdown));
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (tend, pause) = (proxy.next_tend(), proxy.pause());
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            batch = batches.next() => proxy.take(batch.ok_or(Error::WatchEnded)?).await?,
            () = tokio::time::sleep(RETRY), if proxy.behind => proxy.sync(Instant::now()).await?,
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() && !proxy.behind => {
                proxy.sync(Instant::now()).await?;
            }
            () = tokio::time::sleep(tend.unwrap_or_default()), if tend.is_some() && !proxy.behind => proxy.tend(),
            () = proxy.mode.disturbed(), if proxy.started && !proxy.behind => proxy.repair().await?,
            () = local_dns.disturbed() => local_dns.keep().await,
            _ = looks.tick() => proxy.look_for_room(),
            Some(revision) = revisions.next() => match revision {
                Ok(Revision { client: other, config, duties }) => {
                    let node = proxy.config.node_name.clone();
                    proxy.revise(config, &duties).await;
                    if other.is_some() || proxy.config.node_name != node {
                        client = other.unwrap_or(client);
                        proxy.report_to(Reporter::start(client.clone(), &proxy.config.node_name));
                        batches = inputs::batches(&client, &proxy.config.node_name);
                    }
                }
                Err(why) => proxy.refuse(&why),
            },
        }
    }
}
