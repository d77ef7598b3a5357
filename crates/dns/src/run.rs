//! The server at work.

mod feed;
mod ports;
mod reload;
mod status;

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;

use tokio::sync::oneshot;

use crate::config::Config;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::server::sockets::Sockets;

use feed::Feeds;
pub use feed::Source;
use ports::Ports;
use status::Status;

/// What a server needs to begin.
#[derive(Debug)]
pub struct Setup {
    /// What to do.
    pub config: Config,
    /// The Corefile that this is from, which is looked at again if it says `reload`.
    pub corefile: Option<PathBuf>,
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
    let Setup { mut config, corefile, source, sockets } = setup;
    let metrics = Metrics::new();
    let mut feeds = Feeds::new(source, metrics.clone());
    let mut ports = Ports::new(sockets, metrics.clone())?;
    let mut status = Status::new(metrics.clone());
    status.show(&config).await?;
    feeds.follow(&config).await?;
    ports.answer(&config, &feeds)?;
    let mut shutdown = pin!(shutdown);
    let mut ready = Some(ready);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            () = feeds.synced(), if ready.is_some() => {
                status.ready(true);
                ready.take().map(|ready| ready.send(()));
            }
            () = feeds.ended() => return Err(Error::WatchEnded),
            new = reload::changed(corefile.as_deref(), &config, &metrics) => {
                // What was answered before goes on until the new names are known.
                feeds.follow(&new).await?;
                feeds.settle(&new).await;
                status.show(&new).await?;
                ports.answer(&new, &feeds)?;
                feeds.forget_others(&new);
                config = new;
            }
        }
    }
    // Clients learn of the end while they are still answered.
    status.ready(false);
    let lame_duck = config.blocks.iter().filter_map(|block| block.plugins.health.as_ref());
    if let Some(longest) = lame_duck.map(|health| health.lame_duck).max() {
        tokio::time::sleep(longest).await;
    }
    Ok(())
}
