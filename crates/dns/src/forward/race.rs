//! Asking the resolvers of a directive one after the other until one answers.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::health::HealthState;
use super::upstream::suspect;
use super::{Forwarder, Upstream};
use crate::wire::{Message, Question, rcode};

/// The time for all attempts: less than the 5 s after which stub resolvers ask again.
const ALTOGETHER: Duration = Duration::from_secs(4);
/// The most attempts for a question.
const TRIES: usize = 4;
/// How long a resolver may be silent before it is asked a second time, as a datagram may be lost.
const AGAIN: Duration = Duration::from_millis(500);

/// The end of an attempt: the resolver, and its reply.
type Attempt = (Arc<Upstream>, io::Result<Vec<u8>>);

/// Why no resolver of a directive answered a question.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// There is none that can be asked.
    #[error("there is no resolver to ask")]
    NoResolver,
    /// All are down, and queries fail at once then (`failfast_all_unhealthy_upstreams`).
    #[error("all upstream resolvers are down, {0} among them")]
    AllDown(SocketAddr),
    /// None replied in time.
    #[error("no upstream resolver answers in time")]
    Late,
    /// The last one failed for this reason.
    #[error("{to}: {source}")]
    Resolver {
        /// The resolver.
        to: SocketAddr,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl Forwarder {
    /// Asks one resolver after the other: the next one when the last is silent for longer than usual, fails, or
    /// replies with a failure. The first answer counts. `read` reads a reply, and fails if it is no answer to the
    /// question. If all resolvers reply with failures, one of these is returned.
    ///
    /// # Errors
    /// [`AskError`] when no resolver replies; it has the reason of the last one.
    pub(crate) async fn ask<T, E: Error + Send + Sync + 'static>(
        &self,
        question: &Question,
        read: impl Fn(&[u8]) -> Result<T, E>,
    ) -> Result<T, AskError> {
        let order = self.order();
        let Some(first) = order.first() else { return Err(AskError::NoResolver) };
        if first.state() == HealthState::Down {
            self.metrics.all_down.inc();
            if self.options.fail_fast {
                return Err(AskError::AllDown(first.to));
            }
        }
        let end = Instant::now() + ALTOGETHER;
        let mut left = order.iter().cycle().take(TRIES.min(order.len() * 2)).enumerate();
        let mut running: FuturesUnordered<BoxFuture<'_, Attempt>> = FuturesUnordered::new();
        let (mut silent, mut heard): (Vec<Arc<Upstream>>, Vec<Arc<Upstream>>) = Default::default();
        let (mut failed, mut reason) = (None, AskError::Late);
        let mut next_at = Instant::now();
        loop {
            if running.is_empty() || Instant::now() >= next_at {
                match left.find(|(_, upstream)| !is_among(upstream, &heard)) {
                    Some((turn, upstream)) => {
                        let until = end.min(Instant::now() + self.options.read_timeout.min(ALTOGETHER));
                        running.push(Box::pin(attempt(upstream.clone(), question, until)));
                        silent.push(upstream.clone());
                        let repeated = turn + 1 >= order.len();
                        let patience = upstream.health.patience();
                        let patience = if repeated { patience.max(AGAIN) } else { patience };
                        next_at = Instant::now() + patience.min(ALTOGETHER);
                    }
                    None if running.is_empty() => break,
                    None => next_at = end,
                }
            }
            let (upstream, said) = tokio::select! {
                Some(ended) = running.next() => ended,
                () = sleep_until(next_at), if next_at < end => continue,
            };
            silent.retain(|one| !Arc::ptr_eq(one, &upstream));
            match said {
                Ok(reply) => {
                    match (read(&reply), self.settles(&reply)) {
                        (Ok(answer), true) => {
                            // Resolvers that were asked before and are still silent are probed.
                            silent.iter().for_each(|slow| suspect(slow, &self.options));
                            return Ok(answer);
                        }
                        (Ok(failure), false) => failed = Some(failure),
                        (Err(error), _) => {
                            reason = AskError::Resolver { to: upstream.to, source: error.into() }
                        }
                    }
                    // It is not asked again, since its reply would be the same.
                    heard.push(upstream);
                }
                Err(error) => {
                    suspect(&upstream, &self.options);
                    reason = AskError::Resolver { to: upstream.to, source: error.into() };
                }
            }
            // The next resolver is asked at once.
            next_at = Instant::now();
        }
        failed.ok_or(reason)
    }

    /// Whether a reply is an answer, so that no other resolver needs to be asked.
    fn settles(&self, reply: &[u8]) -> bool {
        Message::read(reply).is_ok_and(|message| {
            let code = message.rcode();
            matches!(code, rcode::NOERROR | rcode::NXDOMAIN)
                && !message.is_bare()
                && !self.options.failover.contains(&code)
        })
    }
}

fn is_among(upstream: &Arc<Upstream>, others: &[Arc<Upstream>]) -> bool {
    others.iter().any(|other| Arc::ptr_eq(other, upstream))
}

async fn attempt(upstream: Arc<Upstream>, question: &Question, until: Instant) -> Attempt {
    let said = match timeout_at(until, upstream.ask(question)).await {
        Ok(said) => said,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no reply in time")),
    };
    (upstream, said)
}
