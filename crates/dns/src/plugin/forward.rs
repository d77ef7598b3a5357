//! `forward`: names are asked of upstream resolvers.

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
    /// The zone of the names.
    pub(crate) from: Name,
    /// Names in these zones are excepted.
    pub(crate) except: Vec<Name>,
    /// The upstream resolvers, at least one.
    pub(crate) to: Vec<UpstreamOption>,
    /// The order in which they are asked.
    pub(crate) policy: Policy,
    /// Whether only TCP is used.
    pub(crate) force_tcp: bool,
    /// Whether UDP is used first also for clients that came by TCP. It always is here.
    pub(crate) prefer_udp: bool,
    /// How many health checks must fail until a resolver counts as down; with 0 none ever does.
    pub(crate) max_fails: u32,
    /// How resolvers that did not answer are probed.
    pub(crate) health_check: HealthCheck,
    /// How long an idle connection is kept.
    pub(crate) expire: Duration,
    /// How long a resolver may take to reply.
    pub(crate) read_timeout: Duration,
    /// The most queries under way; `None` is a number that bounds memory.
    pub(crate) max_concurrent: Option<usize>,
    /// Response codes after which the next resolver is asked.
    pub(crate) failover: Vec<u16>,
    /// Response codes after which the next `forward` is asked.
    pub(crate) next: Vec<u16>,
    /// Whether queries fail at once while all resolvers are down.
    pub(crate) fail_fast: bool,
    /// The source address of queries.
    pub(crate) source: Option<IpAddr>,
    /// The certificates that are trusted instead of those of the machine (`tls CA`), PEM.
    pub(crate) ca: Option<PathBuf>,
    /// The client's certificate and key (`tls CERT KEY`), PEM.
    pub(crate) identity: Option<[PathBuf; 2]>,
    /// The name that certificates must have.
    pub(crate) tls_server_name: Option<String>,
}

impl ForwardOptions {
    /// The defaults: all names of a zone to these resolvers.
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

    /// All names to these resolvers, the first one first, with the bound on queries that kubeadm writes.
    pub(crate) fn everything_to(upstreams: &[SocketAddr]) -> Self {
        let to = upstreams
            .iter()
            .map(|address| UpstreamOption::Plain(UpstreamAddress::Socket(*address)))
            .collect();
        Self { policy: Policy::Sequential, max_concurrent: Some(1000), ..Self::of(Name::root(), to) }
    }
}

/// An upstream resolver, or a file that names some.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum UpstreamOption {
    /// DNS over UDP and TCP.
    Plain(UpstreamAddress),
    /// DNS over TLS (RFC 7858), with the name that its certificate must have if the address comes with one.
    Tls(UpstreamAddress, Option<String>),
    /// DNS over HTTPS (RFC 8484), with the name that its certificate must have if the address comes with one.
    Https(UpstreamAddress, Option<String>),
}

/// The address of an upstream resolver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum UpstreamAddress {
    /// An address.
    Socket(SocketAddr),
    /// The addresses in a file in the format of resolv.conf.
    File(PathBuf),
}

/// The order in which upstream resolvers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// At random.
    Random,
    /// Each in turn first.
    RoundRobin,
    /// In the order of the Corefile.
    Sequential,
}

/// The option `health_check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthCheck {
    /// The interval of probes.
    pub(crate) every: Duration,
    /// Whether probes have recursion desired.
    pub(crate) recursion: bool,
    /// The name that probes ask for.
    pub(crate) name: Name,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self { every: Duration::from_millis(500), recursion: true, name: Name::root() }
    }
}
