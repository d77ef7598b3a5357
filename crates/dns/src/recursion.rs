//! Names that are not the cluster's.
//!
//! The way of a query: the cache answers on the spot what was said before; else the query waits for its question,
//! which is asked once however many wait, of one upstream resolver and then another; the reply is read, checked,
//! kept as bytes, and written to each who waits.

mod failures;
mod loops;
mod pending;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::cache::{Cache, CacheMetrics, Hit, StaleReplies, UpstreamReply};
use crate::forward::{ForwardMetrics, Forwarder};
use crate::metrics::Metrics;
use crate::plugin::cache::CacheOptions;
use crate::plugin::forward::ForwardOptions;
use crate::wire::{Name, Query, Question, Reply, rcode};

use failures::FailureLog;
use pending::{PendingGuard, PendingQuestions, Resolution, Waiting};

pub(crate) use loops::Loops;

/// What is counted of names outside the cluster.
#[derive(Debug, Clone)]
pub(crate) struct RecursionMetrics {
    cache: CacheMetrics,
    forward: ForwardMetrics,
}

impl RecursionMetrics {
    /// Counters at zero, registered with all others.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self { cache: CacheMetrics::new(metrics), forward: ForwardMetrics::new(metrics) }
    }
}

/// What a server block says of names that are not the cluster's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecursionOptions {
    /// `forward`: whom to ask.
    pub(crate) forward: Vec<ForwardOptions>,
    /// `cache`: whether and how replies are kept.
    pub(crate) cache: Option<CacheOptions>,
    /// `errors`: whether failures are logged.
    pub(crate) errors: bool,
    /// `loop`: whether resolvers that ask this server are looked for.
    pub(crate) detect_loops: bool,
    /// The addresses of this server, which does not ask itself.
    pub(crate) own: Vec<SocketAddr>,
    /// What metrics call this server.
    pub(crate) server: String,
}

/// Whom to ask for names that are not the cluster's, and what they said.
#[derive(Debug, Clone)]
pub(crate) struct Recursion(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: RecursionOptions,
    forwards: Vec<Arc<Forwarder>>,
    cache: Option<Cache>,
    pending: Arc<PendingQuestions>,
    failures: Option<FailureLog>,
    loops: Loops,
    /// Where questions are asked; `None` where there is no runtime, and then nobody is.
    tasks: Option<Handle>,
}

impl Recursion {
    /// As a options says, with nothing in the cache.
    pub(crate) fn new(options: RecursionOptions, metrics: &RecursionMetrics, loops: &Loops) -> Self {
        let tasks = Handle::try_current().ok();
        let forwards = options.forward.iter();
        let forwards =
            forwards.map(|forward| Forwarder::start(forward, &options.own, &metrics.forward, tasks.as_ref()));
        let cache = options.cache.as_ref().map(|cache| {
            let zones: Vec<_> = cache.zones.iter().map(ToString::to_string).collect();
            let zones = if zones.is_empty() { ".".to_owned() } else { zones.join(",") };
            Cache::new(cache, metrics.cache.of(&options.server, &zones))
        });
        Self(Arc::new(Inner {
            forwards: forwards.collect(),
            cache,
            pending: Arc::default(),
            failures: options.errors.then(|| FailureLog::new(Instant::now())),
            loops: loops.clone(),
            tasks,
            options,
        }))
    }

    /// Whether it does what a options says, so that it can go on under a new configuration.
    pub(crate) fn is_of(&self, options: &RecursionOptions) -> bool {
        self.0.options == *options
    }

    /// Whether both are one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Sees whether resolvers ask this server what they are asked, if the options says so. The server must be
    /// answering by now.
    pub(crate) fn look_for_loops(&self) {
        if let Some(tasks) = self.0.tasks.as_ref().filter(|_| self.0.options.detect_loops) {
            self.0.forwards.iter().for_each(|forwarder| self.0.loops.look(forwarder, tasks));
        }
    }

    /// Whether somebody can be asked for a name.
    pub(crate) fn takes(&self, name: &Name) -> bool {
        self.0.forwards.iter().any(|forwarder| forwarder.takes(name) && forwarder.available())
    }

    /// Writes the reply of `limit` bytes at most, if what was said before tells it.
    pub(crate) fn cached(&self, query: &Query<'_>, limit: usize, out: &mut Vec<u8>) -> bool {
        let Some(cache) = &self.0.cache else { return false };
        match cache.answer(query, limit, Instant::now(), StaleReplies::AsConfigured, out) {
            Hit::Miss => false,
            Hit::Written { refresh } => {
                if refresh {
                    cache.refreshing();
                    self.0.wait_for(&Question::of(query));
                }
                true
            }
        }
    }

    /// Asks, and writes the reply of `limit` bytes at most; a failure if nobody answers.
    pub(crate) async fn ask(&self, query: &Query<'_>, limit: usize, out: &mut Vec<u8>) {
        let inner = &self.0;
        if inner.loops.came_back(query) {
            return Reply::failure(query, rcode::REFUSED, out);
        }
        let question = Question::of(query);
        let forwarder = inner.forwards.iter().find(|forwarder| forwarder.takes(&query.name));
        let Some(_place) = forwarder.and_then(|forwarder| forwarder.place()) else {
            inner.log_failure(&question, rcode::REFUSED, "as many queries as may be are under way");
            return Reply::failure(query, rcode::REFUSED, out);
        };
        let Some(mut waiting) = inner.wait_for(&question) else {
            return Reply::failure(query, rcode::SERVFAIL, out);
        };
        let late = |out: &mut Vec<u8>| {
            let cache = inner.cache.as_ref();
            cache.is_some_and(|cache| {
                cache.answer(query, limit, Instant::now(), StaleReplies::Accepted, out) != Hit::Miss
            })
        };
        if let Some(cache) = &inner.cache {
            cache.missed();
            if let Some(patience) = cache.patience()
                && timeout(patience, waiting.wait_for(Option::is_some)).await.is_err()
                && late(out)
            {
                return;
            }
        }
        let resolution =
            waiting.wait_for(Option::is_some).await.ok().and_then(|resolution| resolution.clone());
        match resolution {
            Some(resolution) if resolution.answered => {
                resolution.reply.write(query, limit, resolution.ttl, out);
            }
            _ if late(out) => {}
            Some(resolution) => resolution.reply.write(query, limit, resolution.ttl, out),
            None => Reply::failure(query, rcode::SERVFAIL, out),
        }
    }
}

impl Inner {
    /// Sees that a question is asked, if it is not under way already; `None` if there is no way to ask.
    fn wait_for(self: &Arc<Self>, question: &Question) -> Option<Waiting> {
        let tasks = self.tasks.as_ref()?;
        let (waiting, guard) = self.pending.join(question);
        if let Some(guard) = guard {
            tasks.spawn(resolve(self.clone(), guard, question.clone()));
        }
        Some(waiting)
    }

    fn log_failure(&self, question: &Question, code: u16, why: &str) {
        if let Some(log) = &self.failures {
            log.failed(question, code, why);
        }
    }

    /// Asks one directive after the other.
    async fn resolve(&self, question: &Question) -> Arc<UpstreamReply> {
        let name = question.name();
        let read = |reply: &[u8]| {
            UpstreamReply::read(reply, question).map_err(|flaw| {
                if let Some(cache) = &self.cache {
                    cache.dropped();
                }
                flaw.to_string()
            })
        };
        let taking: Vec<_> = self.forwards.iter().filter(|forwarder| forwarder.takes(&name)).collect();
        for (place, forwarder) in taking.iter().enumerate() {
            match forwarder.ask(question, read).await {
                Ok(reply) if forwarder.passes_on(reply.rcode()) && place + 1 < taking.len() => {}
                Ok(reply) => return Arc::new(reply),
                Err(why) => {
                    self.log_failure(question, rcode::SERVFAIL, &why);
                    break;
                }
            }
        }
        Arc::new(UpstreamReply::failure(question, rcode::SERVFAIL))
    }
}

/// Asks a question and tells all who wait.
async fn resolve(inner: Arc<Inner>, guard: PendingGuard, question: Question) {
    let reply = inner.resolve(&question).await;
    let ttl = inner.cache.as_ref().and_then(|cache| cache.keep(&reply, Instant::now()));
    let answered = matches!(reply.rcode(), rcode::NOERROR | rcode::NXDOMAIN);
    guard.publish(Resolution { reply, ttl, answered });
}
