//! The server at work.

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

/// What a server needs to begin.
#[derive(Debug)]
pub struct Setup {
    /// What to do.
    pub config: Config,
    /// The Corefile that this is from, which is looked at again if it says `reload`, and when `reload` asks for it.
    pub corefile: Option<PathBuf>,
    /// Each message has the Corefile looked at now, whether it says `reload` or not.
    pub reload: Option<mpsc::Receiver<()>>,
    /// What clusters hold.
    pub source: Source,
    /// Where to listen, as [`Sockets::open`] opened it.
    pub sockets: Sockets,
}

/// Answers until `shutdown`. Sends on `ready` once the names of clusters are known; before that queries for them
/// fail (SERVFAIL), which clients try again.
///
/// Replies leave from the address that was asked. Upstream resolvers are asked from the network namespace that this
/// runs in, wherever the sockets are.
///
/// # Errors
/// [`Error::Socket`] and [`Error::File`] when it cannot begin, [`Error::WatchEnded`] when there is nothing to learn
/// any more.
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
                    tracing::error!(%error, "the Corefile cannot be followed; going on as before");
                    server.go_on(&config).await;
                }
            }
        }
    }
    // Clients learn of the end while they are still answered.
    server.status.ready(false);
    let lame_duck = config.blocks.iter().filter_map(|block| block.plugins.health.as_ref());
    if let Some(longest) = lame_duck.map(|health| health.lame_duck).max() {
        tokio::time::sleep(longest).await;
    }
    Ok(())
}

/// The parts of a server that a configuration changes.
#[derive(Debug)]
struct Server {
    feeds: Feeds,
    listeners: Listeners,
    status: Status,
}

impl Server {
    /// Does as a new configuration says. What was answered before goes on until the new names are known.
    ///
    /// # Errors
    /// When something that it needs is not there; then queries are answered as before.
    async fn renew(&mut self, config: &Config) -> Result<(), Error> {
        self.feeds.follow(config).await?;
        self.feeds.settle(config).await;
        self.status.show(config).await?;
        self.listeners.answer(config, &self.feeds)?;
        self.feeds.forget_others(config);
        Ok(())
    }

    /// Takes back what a configuration that could not be followed to its end has begun.
    async fn go_on(&mut self, config: &Config) {
        if let Err(error) = self.status.show(config).await {
            tracing::error!(%error, "a page of health or metrics is lost; start DNS again to have it back");
        }
        self.feeds.forget_others(config);
    }
}
