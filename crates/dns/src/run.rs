//! Running the server.

mod feed;
mod listeners;
mod reload;
mod status;

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;

use tokio::sync::{mpsc, oneshot};

use crate::config::Config;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::plugin;
use crate::server::sockets::Sockets;

use feed::Feeds;
pub use feed::Source;
use listeners::Listeners;
use reload::Reload;
use status::Status;

/// What a server needs to start.
#[derive(Debug)]
pub struct Setup {
    /// The configuration.
    pub config: Config,
    /// The Corefile of the configuration. It is read again in the interval of its directive `reload`, and for each
    /// message of the channel `reload`.
    pub corefile: Option<PathBuf>,
    /// For each message the Corefile is read again at once, whether it has the directive `reload` or not.
    pub reload: Option<mpsc::Receiver<()>>,
    /// Where the objects of clusters come from.
    pub source: Source,
    /// The sockets, as [`Sockets::open`] returns them.
    pub sockets: Sockets,
}

/// Answers queries until `shutdown` ends. Sends on `ready` when the names of clusters are known. Before that, queries
/// for them fail (SERVFAIL), and clients try them again.
///
/// Replies have the address that was asked as source. Upstream resolvers are asked from the network namespace of the
/// calling thread, even if the sockets are in another.
///
/// # Errors
/// [`Error::Socket`], [`Error::Bind`], [`Error::File`], [`Error::Certificate`], [`Error::Log`] and [`Error::Api`] when
/// it cannot start; [`Error::WatchEnded`] when a stream of events ends.
pub async fn run(
    setup: Setup,
    ready: oneshot::Sender<()>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let Setup { mut config, corefile, reload, source, sockets } = setup;
    let metrics = Metrics::new(plugin::NAMES);
    let mut server = Server {
        feeds: Feeds::new(source, metrics.clone()),
        listeners: Listeners::new(sockets, metrics.clone()),
        status: Status::new(metrics.clone()),
    };
    let mut reload = Reload::new(corefile, reload, &config);
    server.status.show(&config).await?;
    server.feeds.follow(&config).await?;
    server.listeners.answer(&config, &server.feeds)?;
    let mut shutdown = pin!(shutdown);
    let mut ready = Some(ready);
    loop {
        let every = config.blocks.iter().find_map(|block| block.plugins.reload);
        tokio::select! {
            () = &mut shutdown => break,
            () = server.feeds.synced(), if ready.is_some() => {
                server.status.ready(true);
                ready.take().map(|ready| ready.send(()));
            }
            () = server.feeds.ended() => return Err(Error::WatchEnded),
            new = reload.changed(every, &metrics) => match server.renew(&new).await {
                Ok(()) => config = new,
                Err(error) => {
                    metrics.reload_failed.inc();
                    tracing::error!(%error, "the Corefile cannot be followed; the configuration before it stays in use");
                    server.restore(&config).await;
                }
            }
        }
    }
    // `/ready` announces the end, and queries are still answered for a while (`lameduck`).
    server.status.ready(false);
    let lame_duck = config.blocks.iter().filter_map(|block| block.plugins.health.as_ref());
    if let Some(longest) = lame_duck.map(|health| health.lame_duck).max() {
        tokio::time::sleep(longest).await;
    }
    Ok(())
}

/// The parts of a server that a new configuration changes.
#[derive(Debug)]
struct Server {
    feeds: Feeds,
    listeners: Listeners,
    status: Status,
}

impl Server {
    /// Changes to a new configuration. The old one answers until the names of the new one are known.
    ///
    /// # Errors
    /// When the new configuration needs something that is not there. Queries are then answered as before.
    async fn renew(&mut self, config: &Config) -> Result<(), Error> {
        self.feeds.follow(config).await?;
        self.feeds.settle(config).await;
        self.status.show(config).await?;
        self.listeners.answer(config, &self.feeds)?;
        self.feeds.forget_others(config);
        Ok(())
    }

    /// Undoes what was started for a configuration that could not be used.
    async fn restore(&mut self, config: &Config) {
        if let Err(error) = self.status.show(config).await {
            tracing::error!(%error, "a page of `health`, `ready` or `prometheus` cannot be shown any more; restart DNS to have it back");
        }
        self.feeds.forget_others(config);
    }
}
