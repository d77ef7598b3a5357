//! Names outside the cluster: `forward` and `cache`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::wire::Name;

/// The directive `forward`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    /// Names in this zone are asked here.
    pub(crate) from: Name,
    /// But not those in these.
    pub(crate) except: Vec<Name>,
    /// Whom to ask, at least one.
    pub(crate) to: Vec<Upstream>,
    /// In which order.
    pub(crate) policy: Policy,
    /// Over connections only.
    pub(crate) force_tcp: bool,
    /// In datagrams first, also for clients that came on a connection.
    pub(crate) prefer_udp: bool,
    /// How many health checks must fail for an upstream to be taken for dead; with 0 none ever is.
    pub(crate) max_fails: u32,
    /// How a failing upstream is tried.
    pub(crate) health_check: HealthCheck,
    /// How long an unused connection is kept.
    pub(crate) expire: Duration,
    /// How long an upstream may take.
    pub(crate) read_timeout: Duration,
    /// How many queries may be under way; `None` is as many as memory bounds.
    pub(crate) max_concurrent: Option<usize>,
    /// Response codes after which the next upstream is asked.
    pub(crate) failover: Vec<u16>,
    /// Response codes after which the next `forward` is asked.
    pub(crate) next: Vec<u16>,
    /// Whether queries fail at once while all upstreams are dead.
    pub(crate) fail_fast: bool,
    /// The address to ask from.
    pub(crate) source: Option<IpAddr>,
    /// The certificates that are trusted besides the machine's own (`tls CA`), PEM.
    pub(crate) ca: Option<PathBuf>,
    /// The client's certificate and key (`tls CERT KEY`), PEM.
    pub(crate) identity: Option<[PathBuf; 2]>,
    /// The name that certificates must be for.
    pub(crate) tls_server_name: Option<String>,
}

impl Forward {
    /// All names of a zone to these upstreams, as an empty directive means it.
    pub(crate) fn of(from: Name, to: Vec<Upstream>) -> Self {
        Self {
            from,
            except: Vec::new(),
            to,
            policy: Policy::Random,
            force_tcp: false,
            prefer_udp: false,
            max_fails: 2,
            health_check: HealthCheck::default(),
            expire: Duration::from_secs(10),
            read_timeout: Duration::from_secs(2),
            max_concurrent: None,
            failover: Vec::new(),
            next: Vec::new(),
            fail_fast: false,
            source: None,
            ca: None,
            identity: None,
            tls_server_name: None,
        }
    }

    /// All names to these resolvers, the first one first, as many at a time as kubeadm configures.
    pub(crate) fn everything_to(upstreams: &[SocketAddr]) -> Self {
        let to = upstreams.iter().map(|address| Upstream::Plain(UpstreamAddress::Socket(*address))).collect();
        Self { policy: Policy::Sequential, max_concurrent: Some(1000), ..Self::of(Name::root(), to) }
    }
}

/// An upstream resolver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Upstream {
    /// By DNS itself.
    Plain(UpstreamAddress),
    /// Under TLS (RFC 7858), with the name that its certificate must be for, if one is told with the address.
    Tls(UpstreamAddress, Option<String>),
    /// By HTTP under TLS (RFC 8484), with that name.
    Https(UpstreamAddress, Option<String>),
}

/// Where an upstream is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum UpstreamAddress {
    /// There.
    Socket(SocketAddr),
    /// Where a file in the form of resolv.conf says.
    File(PathBuf),
}

/// The order in which upstreams are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Any.
    Random,
    /// Each in turn.
    RoundRobin,
    /// The first that lives.
    Sequential,
}

/// The option `health_check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthCheck {
    /// How often a failing upstream is tried.
    pub(crate) every: Duration,
    /// Whether recursion is desired.
    pub(crate) recursion: bool,
    /// The name asked for.
    pub(crate) name: Name,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self { every: Duration::from_millis(500), recursion: true, name: Name::root() }
    }
}

/// The directive `cache`. It remembers what upstreams said; the cluster's own names are never in it, because what
/// is known of them is always current.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cache {
    /// Only names in these zones; none means all.
    pub(crate) zones: Vec<Name>,
    /// Names that exist.
    pub(crate) success: Kept,
    /// Names that do not.
    pub(crate) denial: Kept,
    /// How long a failure is remembered.
    pub(crate) failure: Duration,
    /// Whether popular names are fetched before they expire.
    pub(crate) prefetch: Option<Prefetch>,
    /// Whether expired answers are better than none.
    pub(crate) stale: Option<Stale>,
    /// Whether answers keep the TTL that they came with.
    pub(crate) keep_ttl: bool,
}

/// How a class of answers is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// How many.
    pub(crate) capacity: usize,
    /// The longest that one is remembered.
    pub(crate) longest: Duration,
    /// The shortest.
    pub(crate) shortest: Duration,
    /// Not for names in these zones.
    pub(crate) disabled: Vec<Name>,
}

impl Default for Cache {
    fn default() -> Self {
        let kept = |seconds| Kept {
            capacity: 9984,
            longest: Duration::from_secs(seconds),
            shortest: Duration::from_secs(5),
            disabled: Vec::new(),
        };
        Self {
            zones: Vec::new(),
            success: kept(3600),
            denial: kept(1800),
            failure: Duration::from_secs(5),
            prefetch: None,
            stale: None,
            keep_ttl: false,
        }
    }
}

/// The option `prefetch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefetch {
    /// How often a name must be asked for to be popular.
    pub(crate) amount: u32,
    /// The longest pause between two of these.
    pub(crate) pause: Duration,
    /// How much of the TTL must be left at most, in hundredths.
    pub(crate) percentage: u8,
}

/// The option `serve_stale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stale {
    /// For how long after the end.
    pub(crate) longest: Duration,
    /// How long upstreams are given before the expired answer is sent; zero sends it at once, `None` waits for
    /// them to fail.
    pub(crate) wait: Option<Duration>,
    /// The TTL of expired answers, in seconds.
    pub(crate) ttl: u32,
}
