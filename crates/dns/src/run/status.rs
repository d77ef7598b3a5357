//! The pages of the server: `/health`, `/ready` and `/metrics`.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use pages::Reply;
use tokio::net::TcpListener;

use super::listeners::AbortOnDrop;
use crate::config::Config;
use crate::error::Error;
use crate::metrics::Metrics;

/// The pages at an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Shown {
    health: bool,
    ready: bool,
    metrics: bool,
}

/// The pages of a server, by address.
#[derive(Debug)]
pub(super) struct Status {
    pages: BTreeMap<SocketAddr, Page>,
    state: State,
}

/// The HTTP server of one address.
#[derive(Debug)]
struct Page {
    shown: Arc<RwLock<Shown>>,
    _server: AbortOnDrop,
}

/// What the pages show.
#[derive(Debug, Clone)]
struct State {
    ready: Arc<AtomicBool>,
    metrics: Metrics,
}

impl Status {
    /// No pages yet.
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { pages: BTreeMap::new(), state: State { ready: Arc::default(), metrics } }
    }

    /// Shows the pages of a configuration, and no others.
    ///
    /// # Errors
    /// [`Error::Bind`] with the address that cannot be listened on. The pages are then as they were.
    pub(super) async fn show(&mut self, config: &Config) -> Result<(), Error> {
        let mut wanted: BTreeMap<SocketAddr, Shown> = BTreeMap::new();
        for plugins in config.blocks.iter().map(|block| &block.plugins) {
            if let Some(health) = &plugins.health {
                wanted.entry(health.address).or_default().health = true;
            }
            if let Some(address) = plugins.ready {
                wanted.entry(address).or_default().ready = true;
            }
            if let Some(address) = plugins.metrics {
                wanted.entry(address).or_default().metrics = true;
            }
        }
        let mut added = Vec::new();
        for address in wanted.keys().filter(|address| !self.pages.contains_key(address)) {
            let listener =
                listen(*address).await.map_err(|source| Error::Bind { address: *address, source })?;
            added.push((*address, listener));
        }
        self.pages.retain(|address, _| wanted.contains_key(address));
        for (address, page) in &self.pages {
            *page.shown.write().unwrap_or_else(PoisonError::into_inner) = wanted[address];
        }
        for (address, listener) in added {
            let (state, shown) = (self.state.clone(), Arc::new(RwLock::new(wanted[&address])));
            let now = shown.clone();
            let server = pages::serve(listener, move |path| {
                let shown = *now.read().unwrap_or_else(PoisonError::into_inner);
                std::future::ready(state.answer(shown, &path))
            });
            self.pages.insert(address, Page { shown, _server: AbortOnDrop(tokio::spawn(server)) });
        }
        Ok(())
    }

    /// Sets whether `/ready` says that all names are known.
    pub(super) fn ready(&self, ready: bool) {
        self.state.ready.store(ready, Ordering::Relaxed);
    }
}

/// Listens at an address. If that is `[::]` and the machine has no IPv6, listens at `0.0.0.0`.
async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error)
            if address.is_ipv6()
                && address.ip().is_unspecified()
                && error.kind() != std::io::ErrorKind::AddrInUse =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        tried => tried,
    }
}

impl State {
    fn answer(&self, shown: Shown, path: &str) -> Reply {
        match path {
            "/health" if shown.health => Reply::text(200, "OK"),
            "/ready" if shown.ready => match self.ready.load(Ordering::Relaxed) {
                true => Reply::text(200, "OK"),
                false => Reply::text(503, "kubernetes"),
            },
            "/metrics" if shown.metrics => Reply::text(200, self.metrics.text()),
            _ => Reply::text(404, "there is no such page; there are /health, /ready and /metrics\n"),
        }
    }
}
