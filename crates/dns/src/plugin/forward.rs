//! `forward`: names that are asked of upstream resolvers.

mod handler;
mod read;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::wire::Name;

pub(super) use handler::handler;
pub(super) use read::read;

/// The directive `forward`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ForwardOptions {
    /// Names in this zone are asked here.
    pub(crate) from: Name,
    /// But not those in these.
    pub(crate) except: Vec<Name>,
    /// Whom to ask, at least one.
    pub(crate) to: Vec<UpstreamOption>,
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

impl ForwardOptions {
    /// All names of a zone to these upstreams, as an empty directive means it.
    pub(crate) fn of(from: Name, to: Vec<UpstreamOption>) -> Self {
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
        let to = upstreams
            .iter()
            .map(|address| UpstreamOption::Plain(UpstreamAddress::Socket(*address)))
            .collect();
        Self { policy: Policy::Sequential, max_concurrent: Some(1000), ..Self::of(Name::root(), to) }
    }
}

/// An upstream resolver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum UpstreamOption {
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
