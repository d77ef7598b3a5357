//! What others may ask: health at one address, metrics and configuration at another.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::scrape::Scraper;
use crate::config::ModeName;
use crate::configuration::Duties;
use crate::error::Error;
use crate::health::{Health, Question};
use crate::metrics::Metrics;
use crate::mode::Counter;
use pages::Reply;

/// How long to wait before an address that is taken is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Both servers; they end when this is dropped.
pub(super) struct Observers {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    scraper: Scraper,
    shown: Arc<RwLock<Shown>>,
    healthz: Server,
    figures: Server,
}

/// What is shown of the configuration.
#[derive(Debug)]
struct Shown {
    mode: ModeName,
    configz: String,
}

/// A server and where it listens, if anywhere.
#[derive(Debug, Default)]
struct Server {
    address: Option<SocketAddr>,
    tasks: JoinSet<()>,
}

impl Shown {
    fn of(mode: ModeName, configz: &Value) -> Self {
        Self { mode, configz: json!({"kubeproxy.config.k8s.io": configz}).to_string() }
    }
}

impl Observers {
    /// Starts both servers.
    ///
    /// # Errors
    /// [`Error::Listen`] when an address is taken and that is to be fatal, [`Error::Thread`] when metrics cannot have
    /// a thread.
    pub(super) async fn start(
        duties: &Duties,
        mode: ModeName,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Error> {
        let shown = Arc::new(RwLock::new(Shown::of(mode, &duties.configz)));
        let print = {
            let (metrics, shown) = (metrics.clone(), shown.clone());
            move |counted: &_| metrics.print(read(&shown).mode, counted)
        };
        let mut observers = Self {
            health,
            metrics,
            scraper: Scraper::start(print).map_err(Error::Thread)?,
            shown,
            healthz: Server::default(),
            figures: Server::default(),
        };
        observers.listen(duties, duties.hard_fail).await?;
        Ok(observers)
    }

    /// Counts connections this way from now on.
    pub(super) fn count_by(&self, counter: Option<Counter>) {
        self.scraper.count_by(counter);
    }

    /// Shows another configuration. A server whose address changed listens there; if it is taken, as soon as it is
    /// free.
    pub(super) async fn follow(&mut self, duties: &Duties, mode: ModeName) {
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Shown::of(mode, &duties.configz);
        if let Err(error) = self.listen(duties, false).await {
            tracing::error!(%error, "a server of the proxy does not listen");
        }
    }

    async fn listen(&mut self, duties: &Duties, hard_fail: bool) -> Result<(), Error> {
        let (health, metrics) = (self.health.clone(), self.metrics.clone());
        self.healthz
            .move_to(duties.healthz, hard_fail, move |path| {
                let reply = health_reply(&path, &health, &metrics);
                async move { reply }
            })
            .await?;
        let (scraper, shown) = (self.scraper.clone(), self.shown.clone());
        self.figures
            .move_to(duties.metrics, hard_fail, move |path| {
                let (scraper, shown) = (scraper.clone(), shown.clone());
                async move { figures_reply(&path, &scraper, &shown).await }
            })
            .await
    }
}

impl Server {
    /// Listens at another address, if it is another.
    async fn move_to<F, Answer>(
        &mut self,
        address: Option<SocketAddr>,
        hard_fail: bool,
        answer: F,
    ) -> Result<(), Error>
    where
        F: Fn(String) -> Answer + Send + Sync + 'static,
        Answer: Future<Output = Reply> + Send + 'static,
    {
        if address == self.address {
            return Ok(());
        }
        // The new address may have the port of the old one.
        self.tasks.shutdown().await;
        self.address = address;
        match address {
            Some(address) => listen(&mut self.tasks, address, hard_fail, answer).await,
            None => Ok(()),
        }
    }
}

fn read(shown: &RwLock<Shown>) -> std::sync::RwLockReadGuard<'_, Shown> {
    shown.read().unwrap_or_else(PoisonError::into_inner)
}

fn health_reply(path: &str, health: &Health, metrics: &Metrics) -> Reply {
    let question = match path {
        "/healthz" => Question::Healthz,
        "/livez" => Question::Livez,
        _ => return Reply::text(404, "404 page not found; there are /healthz and /livez\n"),
    };
    let (good, body) = health.answer(question);
    let code = if good { 200 } else { 503 };
    metrics.answered(question, code);
    Reply::json(code, body.to_string())
}

async fn figures_reply(path: &str, scraper: &Scraper, shown: &RwLock<Shown>) -> Reply {
    match path {
        "/metrics" => {
            let mut reply = Reply::text(200, scraper.scrape().await);
            reply.headers = vec![("content-type", "text/plain; version=0.0.4; charset=utf-8".to_owned())];
            reply
        }
        "/proxyMode" => Reply::text(200, read(shown).mode.to_string()),
        "/configz" => Reply::json(200, read(shown).configz.clone()),
        "/healthz" => Reply::text(200, "ok"),
        _ => Reply::text(404, "404 page not found; there are /metrics, /proxyMode, /configz and /healthz\n"),
    }
}

async fn listen<F, Answer>(
    servers: &mut JoinSet<()>,
    address: SocketAddr,
    hard_fail: bool,
    answer: F,
) -> Result<(), Error>
where
    F: Fn(String) -> Answer + Send + Sync + 'static,
    Answer: Future<Output = Reply> + Send + 'static,
{
    match TcpListener::bind(address).await {
        Ok(listener) => servers.spawn(pages::serve(listener, answer)),
        Err(source) if hard_fail => return Err(Error::Listen { address, source }),
        Err(error) => {
            tracing::warn!(%address, %error, "the address cannot be listened at; trying again");
            servers.spawn(async move {
                loop {
                    tokio::time::sleep(RETRY).await;
                    if let Ok(listener) = TcpListener::bind(address).await {
                        pages::serve(listener, answer).await;
                        return;
                    }
                }
            })
        }
    };
    Ok(())
}
