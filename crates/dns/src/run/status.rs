//! What the server says of itself: health, readiness and metrics.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pages::Reply;

use super::ports::Task;
use crate::config::Config;
use crate::error::Error;
use crate::metrics::Metrics;

/// What is told at an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Told {
    health: bool,
    ready: bool,
    metrics: bool,
}

/// The pages of a server.
#[derive(Debug)]
pub(super) struct Status {
    pages: BTreeMap<SocketAddr, (Told, Task)>,
    state: State,
}

/// What the pages tell.
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

    /// Has the pages of a configuration shown, and no others.
    pub(super) async fn show(&mut self, config: &Config) -> Result<(), Error> {
        let mut wanted: BTreeMap<SocketAddr, Told> = BTreeMap::new();
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
        self.pages.retain(|address, (told, _)| wanted.get(address) == Some(told));
        for (address, told) in wanted {
            if self.pages.contains_key(&address) {
                continue;
            }
            let listener = listen(address).await.map_err(|source| Error::Bind { address, source })?;
            let state = self.state.clone();
            let server = pages::serve(listener, move |path| {
                let reply = state.answer(told, &path);
                async move { reply }
            });
            self.pages.insert(address, (told, Task(tokio::spawn(server))));
        }
        Ok(())
    }

    /// Says that all names are known, or not.
    pub(super) fn ready(&self, ready: bool) {
        self.state.ready.store(ready, Ordering::Relaxed);
    }
}

/// Listens, also where a page of the configuration before has just been closed, or where there is no IPv6.
async fn listen(address: SocketAddr) -> std::io::Result<tokio::net::TcpListener> {
    let mut tried = tokio::net::TcpListener::bind(address).await;
    for _ in 0..10 {
        match &tried {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                tried = tokio::net::TcpListener::bind(address).await;
            }
            Err(_) if address.is_ipv6() && address.ip().is_unspecified() => {
                return tokio::net::TcpListener::bind(("0.0.0.0", address.port())).await;
            }
            _ => break,
        }
    }
    tried
}

impl State {
    fn answer(&self, told: Told, path: &str) -> Reply {
        match path {
            "/health" if told.health => Reply::text(200, "OK"),
            "/ready" if told.ready => match self.ready.load(Ordering::Relaxed) {
                true => Reply::text(200, "OK"),
                false => Reply::text(503, "kubernetes"),
            },
            "/metrics" if told.metrics => Reply::text(200, self.metrics.text()),
            _ => Reply::text(404, "there is no such page; there are /health, /ready and /metrics\n"),
        }
    }
}
