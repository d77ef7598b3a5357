//! What others may ask: health at one address, metrics and configuration at another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::config::ModeName;
use crate::configuration::Duties;
use crate::error::Error;
use crate::health::{Health, Question};
use crate::http::{self, Reply};
use crate::metrics::Metrics;
use crate::mode::Count;

/// How long to wait before an address that is taken is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// A request for the kernel's counts.
#[derive(Debug)]
pub(super) struct Ask(oneshot::Sender<Vec<Count>>);

impl Ask {
    /// Answers it.
    pub(super) fn answer(self, counts: Vec<Count>) {
        // Whoever asked may have gone.
        let _ = self.0.send(counts);
    }
}

/// Starts both servers; they end when the set is dropped.
///
/// # Errors
/// [`Error::Listen`] when an address is taken and that is to be fatal.
pub(super) async fn start(
    duties: &Duties,
    mode: ModeName,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    asks: mpsc::Sender<Ask>,
) -> Result<JoinSet<()>, Error> {
    let mut servers = JoinSet::new();
    if let Some(address) = duties.healthz {
        let metrics = metrics.clone();
        listen(&mut servers, address, duties.hard_fail, move |path| {
            let reply = health_reply(&path, &health, &metrics);
            async move { reply }
        })
        .await?;
    }
    if let Some(address) = duties.metrics {
        let configz = Arc::new(json!({"kubeproxy.config.k8s.io": duties.configz}).to_string());
        listen(&mut servers, address, duties.hard_fail, move |path| {
            let (asks, metrics, configz) = (asks.clone(), metrics.clone(), configz.clone());
            async move {
                match path.as_str() {
                    "/metrics" => {
                        let mut reply = Reply::text(200, metrics.print(&counts(&asks).await));
                        reply.headers =
                            vec![("content-type", "text/plain; version=0.0.4; charset=utf-8".to_owned())];
                        reply
                    }
                    "/proxyMode" => Reply::text(200, mode.to_string()),
                    "/configz" => Reply::json(200, configz.as_str()),
                    "/healthz" => Reply::text(200, "ok"),
                    _ => Reply::text(
                        404,
                        "404 page not found; there are /metrics, /proxyMode, /configz and /healthz\n",
                    ),
                }
            }
        })
        .await?;
    }
    Ok(servers)
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

async fn counts(asks: &mpsc::Sender<Ask>) -> Vec<Count> {
    let (answer, counts) = oneshot::channel();
    if asks.send(Ask(answer)).await.is_err() {
        return Vec::new();
    }
    counts.await.unwrap_or_default()
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
        Ok(listener) => servers.spawn(http::serve(listener, answer)),
        Err(source) if hard_fail => return Err(Error::Listen { address, source }),
        Err(error) => {
            tracing::warn!(%address, %error, "the address cannot be listened at; trying again");
            servers.spawn(async move {
                loop {
                    tokio::time::sleep(RETRY).await;
                    if let Ok(listener) = TcpListener::bind(address).await {
                        http::serve(listener, answer).await;
                        return;
                    }
                }
            })
        }
    };
    Ok(())
}
