//! Asking one resolver after the other until one knows.

use std::io;
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

/// How long a query may take in all: less than the 5 s after which stub resolvers ask again.
const ALTOGETHER: Duration = Duration::from_secs(4);
/// How often a question is sent at most.
const TRIES: usize = 4;
/// When a single resolver is asked once more, as a datagram may get lost.
const AGAIN: Duration = Duration::from_millis(500);

/// The end of one attempt: by whom, and what it said.
type Attempt = (Arc<Upstream>, io::Result<Vec<u8>>);

impl Forwarder {
    /// Asks one resolver, the next one when it is silent for longer than it usually is, fails or knows nothing,
    /// and so on; the first answer counts. `read` tells whether a reply is one. If none knows, what one said
    /// of its failure is passed on.
    ///
    /// # Errors
    /// When none answers; the last reason.
    pub(crate) async fn ask<T>(
        &self,
        question: &Question,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, String> {
        let order = self.order();
        let Some(first) = order.first() else { return Err("there is no resolver to ask".to_owned()) };
        if first.state() == HealthState::Down {
            self.metrics.all_down.inc();
            if self.options.fail_fast {
                return Err(format!("all upstream resolvers are down, {} among them", first.to));
            }
        }
        let end = Instant::now() + ALTOGETHER;
        let mut left = order.iter().cycle().take(TRIES.min(order.len() * 2)).enumerate();
        let mut running: FuturesUnordered<BoxFuture<'_, Attempt>> = FuturesUnordered::new();
        let (mut silent, mut heard): (Vec<Arc<Upstream>>, Vec<Arc<Upstream>>) = Default::default();
        let (mut failed, mut reason) = (None, "no upstream resolver answers in time".to_owned());
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
                            // Those that were asked before and said nothing yet: a probe will show whether they live.
                            silent.iter().for_each(|slow| suspect(slow, &self.options));
                            return Ok(answer);
                        }
                        (Ok(failure), false) => failed = Some(failure),
                        (Err(why), _) => reason = format!("{}: {why}", upstream.to),
                    }
                    // It would say the same again.
                    heard.push(upstream);
                }
                Err(error) => {
                    suspect(&upstream, &self.options);
                    reason = format!("{}: {error}", upstream.to);
                }
            }
            // There is nothing to wait for any more from this one.
            next_at = Instant::now();
        }
        failed.ok_or(reason)
    }

    /// Whether a reply settles the question, so that no other resolver needs to be asked.
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
