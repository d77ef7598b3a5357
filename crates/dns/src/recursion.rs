//! Names that are not the cluster's: the cache, and upstream resolvers behind it.
//!
//! The cache answers at once if it has the reply. Otherwise the query waits for its question: equal questions are
//! asked once, of one upstream resolver after the other. The reply is checked, cached, and written to each query that
//! waits.

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

/// The metrics of caches and upstream resolvers.
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

/// What a server block says about names that are not the cluster's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecursionOptions {
    /// `forward`: the upstream resolvers.
    pub(crate) forward: Vec<ForwardOptions>,
    /// `cache`: whether and how replies are kept.
    pub(crate) cache: Option<CacheOptions>,
    /// `errors`: whether failures are logged.
    pub(crate) errors: bool,
    /// `loop`: whether resolvers that send their queries back to this server are looked for.
    pub(crate) detect_loops: bool,
    /// The addresses of this server, which does not ask itself.
    pub(crate) own: Vec<SocketAddr>,
    /// The label `server` of metrics.
    pub(crate) server: String,
}

/// The cache and the upstream resolvers of a server block. Copies share them.
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
    /// The runtime on which questions are asked; `None` in tests without one, where none is asked.
    tasks: Option<Handle>,
}

impl Recursion {
    /// Starts with an empty cache.
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

    /// Whether it was made with equal options, so that a new configuration can use it.
    pub(crate) fn is_of(&self, options: &RecursionOptions) -> bool {
        self.0.options == *options
    }

    /// Whether both share cache and resolvers.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Starts to look for resolvers whose queries come back, if the options say so. The server must already be
    /// answering.
    pub(crate) fn look_for_loops(&self) {
        if let Some(tasks) = self.0.tasks.as_ref().filter(|_| self.0.options.detect_loops) {
            self.0.forwards.iter().for_each(|forwarder| self.0.loops.look(forwarder, tasks));
        }
    }

    /// Whether there is an upstream resolver to ask for a name.
    pub(crate) fn takes(&self, name: &Name) -> bool {
        self.0.forwards.iter().any(|forwarder| forwarder.takes(name) && forwarder.available())
    }

    /// Writes a reply of at most `limit` bytes, if the cache has it.
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

    /// Asks upstream resolvers, and writes the reply of at most `limit` bytes; a failure if no resolver answers.
    pub(crate) async fn ask(&self, query: &Query<'_>, limit: usize, out: &mut Vec<u8>) {
        let inner = &self.0;
        if inner.loops.came_back(query) {
            return Reply::failure(query, rcode::REFUSED, out);
        }
        let question = Question::of(query);
        let forwarder = inner.forwards.iter().find(|forwarder| forwarder.takes(&query.name));
        let Some(_place) = forwarder.and_then(|forwarder| forwarder.place()) else {
            inner.log_failure(&question, rcode::REFUSED, "`max_concurrent` queries are already under way");
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
    /// Waits for a question, and starts to ask it if it is not under way. `None` without a runtime.
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

    /// Asks the `forward` directives that are responsible one after the other.
    async fn resolve(&self, question: &Question) -> Arc<UpstreamReply> {
        let name = question.name();
        let read = |reply: &[u8]| {
            UpstreamReply::read(reply, question).inspect_err(|_| {
                if let Some(cache) = &self.cache {
                    cache.dropped();
                }
            })
        };
        let taking: Vec<_> = self.forwards.iter().filter(|forwarder| forwarder.takes(&name)).collect();
        for (place, forwarder) in taking.iter().enumerate() {
            match forwarder.ask(question, read).await {
                Ok(reply) if forwarder.passes_on(reply.rcode()) && place + 1 < taking.len() => {}
                Ok(reply) => return Arc::new(reply),
                Err(error) => {
                    self.log_failure(question, rcode::SERVFAIL, &error.to_string());
                    break;
                }
            }
        }
        Arc::new(UpstreamReply::failure(question, rcode::SERVFAIL))
    }
}

/// Asks a question, caches the reply, and publishes it to all queries that wait.
async fn resolve(inner: Arc<Inner>, guard: PendingGuard, question: Question) {
    let reply = inner.resolve(&question).await;
    let ttl = inner.cache.as_ref().and_then(|cache| cache.keep(&reply, Instant::now()));
    let answered = matches!(reply.rcode(), rcode::NOERROR | rcode::NXDOMAIN);
    guard.publish(Resolution { reply, ttl, answered });
}
