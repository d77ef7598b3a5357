//! Asking upstream resolvers (directive `forward`).

mod health;
mod https;
mod id;
mod metrics;
mod race;
mod stream;
mod tls;
mod udp;
mod upstream;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::plugin::forward::{ForwardOptions, Policy, UpstreamAddress, UpstreamOption};
use crate::resolv_conf::nameservers;
use crate::wire::Name;

pub(crate) use metrics::ForwardMetrics;
pub(crate) use upstream::Upstream;

use upstream::UpstreamTransport;

/// The most queries under way of a `forward` without `max_concurrent`.
const IN_FLIGHT: usize = 8192;
/// How often files that name resolvers are read again.
const LOOK: Duration = Duration::from_secs(5);

/// One `forward` directive at work.
#[derive(Debug)]
pub(crate) struct Forwarder {
    options: ForwardOptions,
    own: Vec<SocketAddr>,
    metrics: ForwardMetrics,
    upstreams: RwLock<Arc<[Arc<Upstream>]>>,
    /// The number of the next resolver for the policy `round_robin`.
    turn: AtomicUsize,
    places: Arc<Semaphore>,
}

impl Forwarder {
    /// Starts a directive. Resolvers that are this server, which listens on `own`, are left out. A task on `tasks`
    /// reads files that name resolvers again when they change.
    pub(crate) fn start(
        options: &ForwardOptions,
        own: &[SocketAddr],
        metrics: &ForwardMetrics,
        tasks: Option<&Handle>,
    ) -> Arc<Self> {
        let most = options.max_concurrent.unwrap_or(IN_FLIGHT).min(Semaphore::MAX_PERMITS);
        let forwarder = Arc::new(Self {
            options: options.clone(),
            own: own.to_vec(),
            metrics: metrics.clone(),
            upstreams: RwLock::new(Arc::new([])),
            turn: AtomicUsize::new(0),
            places: Arc::new(Semaphore::new(most)),
        });
        forwarder.set(&forwarder.resolvers());
        if let Some(tasks) = tasks.filter(|_| forwarder.changes()) {
            tasks.spawn(follow_files(Arc::downgrade(&forwarder)));
        }
        forwarder
    }

    /// Whether the directive is responsible for a name.
    pub(crate) fn takes(&self, name: &Name) -> bool {
        name.below(&self.options.from).is_some()
            && !self.options.except.iter().any(|zone| name.below(zone).is_some())
    }

    /// Whether the resolvers may change, because a file names them.
    pub(crate) fn changes(&self) -> bool {
        self.options.to.iter().any(|upstream| path(upstream).is_some())
    }

    /// The zone of the directive.
    pub(crate) fn zone(&self) -> &Name {
        &self.options.from
    }

    /// Whether the next directive is asked after a reply with this response code (`next`).
    pub(crate) fn passes_on(&self, rcode: u16) -> bool {
        self.options.next.contains(&rcode)
    }

    /// Whether it has a resolver that can be asked.
    pub(crate) fn available(&self) -> bool {
        self.upstreams().iter().any(|upstream| upstream.health.usable())
    }

    /// A permit for one query under way; `None` if there are as many as may be.
    pub(crate) fn place(&self) -> Option<OwnedSemaphorePermit> {
        let place = self.places.clone().try_acquire_owned().ok();
        if place.is_none() {
            self.metrics.refused.inc();
        }
        place
    }

    /// The resolvers.
    pub(crate) fn upstreams(&self) -> Arc<[Arc<Upstream>]> {
        self.upstreams.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Leaves a resolver out from now on: its queries come back to this server.
    pub(crate) fn leave_out(&self, upstream: &Upstream) {
        upstream.health.leads_back();
        self.metrics.loops.with_label_values(&[&upstream.to.to_string()]).inc();
    }

    /// The resolvers that can be asked, those that answer first, otherwise in the order of the policy.
    fn order(&self) -> Vec<Arc<Upstream>> {
        let mut order: Vec<_> =
            self.upstreams().iter().filter(|upstream| upstream.health.usable()).cloned().collect();
        match self.options.policy {
            Policy::Random => fastrand::shuffle(&mut order),
            Policy::RoundRobin if !order.is_empty() => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed) % order.len();
                order.rotate_left(turn);
            }
            Policy::RoundRobin | Policy::Sequential => {}
        }
        order.sort_by_key(|upstream| upstream.state());
        order
    }

    /// The resolvers that the directive and its files name now.
    fn resolvers(&self) -> Vec<(SocketAddr, UpstreamOption)> {
        let mut all = Vec::new();
        for upstream in &self.options.to {
            let found = match address(upstream) {
                UpstreamAddress::Socket(socket) => vec![*socket],
                UpstreamAddress::File(path) => read(path),
            };
            let (own, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|to| self.is_own(*to));
            for to in own {
                tracing::warn!(upstream = %to, "left out as an upstream resolver: it is this server");
            }
            all.extend(others.into_iter().map(|to| (to, upstream.clone())));
        }
        all
    }

    fn is_own(&self, to: SocketAddr) -> bool {
        let here = |ip: IpAddr| ip.is_loopback() || crate::interfaces::own().contains(&ip);
        self.own.iter().any(|own| {
            *own == to || own.port() == to.port() && own.ip().is_unspecified() && here(to.ip().to_canonical())
        })
    }

    /// Replaces the resolvers. Those from files that are named again keep their state.
    fn set(&self, resolvers: &[(SocketAddr, UpstreamOption)]) {
        let before = self.upstreams();
        let mut after: Vec<Arc<Upstream>> = Vec::new();
        for (to, upstream) in resolvers {
            match before.iter().find(|known| known.to == *to && path(upstream).is_some()) {
                Some(known) => after.push(known.clone()),
                None => match self.transport(*to, upstream) {
                    Ok(transport) => {
                        after.push(Arc::new(Upstream::new(*to, transport, &self.options, &self.metrics)));
                    }
                    Err(error) => tracing::error!(
                        upstream = %to, %error,
                        "left out as an upstream resolver: it cannot be asked under TLS; check the files of `tls`"
                    ),
                },
            }
        }
        *self.upstreams.write().unwrap_or_else(PoisonError::into_inner) = after.into();
    }

    fn transport(&self, to: SocketAddr, upstream: &UpstreamOption) -> std::io::Result<UpstreamTransport> {
        let name = |own: &Option<String>| {
            let name = own.as_ref().or(self.options.tls_server_name.as_ref());
            name.map_or_else(|| to.ip().to_string(), Clone::clone)
        };
        Ok(match upstream {
            UpstreamOption::Plain(_) if self.options.force_tcp => UpstreamTransport::Tcp,
            UpstreamOption::Plain(_) => UpstreamTransport::Udp,
            UpstreamOption::Tls(_, own) => {
                UpstreamTransport::Tls(tls::config(&self.options, None)?, name(own))
            }
            UpstreamOption::Https(_, own) => {
                UpstreamTransport::Https(tls::config(&self.options, Some(b"h2"))?, name(own))
            }
        })
    }
}

fn address(upstream: &UpstreamOption) -> &UpstreamAddress {
    match upstream {
        UpstreamOption::Plain(address)
        | UpstreamOption::Tls(address, _)
        | UpstreamOption::Https(address, _) => address,
    }
}

fn path(upstream: &UpstreamOption) -> Option<&PathBuf> {
    match address(upstream) {
        UpstreamAddress::File(path) => Some(path),
        UpstreamAddress::Socket(_) => None,
    }
}

/// The resolvers that a file names. If it cannot be read, logs that and returns none.
fn read(path: &Path) -> Vec<SocketAddr> {
    match std::fs::read_to_string(path) {
        Ok(text) => nameservers(&text),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the file with upstream resolvers cannot be read");
            Vec::new()
        }
    }
}

/// Reads the files of a directive again when they change, until the directive is dropped.
async fn follow_files(forwarder: Weak<Forwarder>) {
    let mut known = forwarder.upgrade().map(|forwarder| stamps(&forwarder)).unwrap_or_default();
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(forwarder) = forwarder.upgrade() else { return };
        let now = stamps(&forwarder);
        if now == known {
            continue;
        }
        known = now;
        let resolvers = forwarder.resolvers();
        if resolvers.is_empty() {
            tracing::warn!(
                "the file with upstream resolvers names none any more; the resolvers that it named before are kept"
            );
            continue;
        }
        forwarder.set(&resolvers);
        tracing::info!(
            upstreams = ?resolvers.iter().map(|(to, _)| to).collect::<Vec<_>>(),
            "the file with upstream resolvers has changed"
        );
    }
}

/// The times at which the files were changed.
fn stamps(forwarder: &Forwarder) -> Vec<Option<std::time::SystemTime>> {
    let files = forwarder.options.to.iter().filter_map(path);
    files.map(|path| std::fs::metadata(path).and_then(|about| about.modified()).ok()).collect()
}
