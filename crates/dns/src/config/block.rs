//! Server blocks.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::{Autopath, Cache, Forward, Hosts, Kubernetes, Rewrite, Template, Transfer};
use crate::wire::Name;

/// A server block: where it listens, which names it takes, and what answers them.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// The line of the Corefile that it begins on.
    pub(crate) line: usize,
    /// What it takes.
    pub(crate) served: Vec<Served>,
    /// The addresses it listens on; none means all.
    pub(crate) bind: Vec<IpAddr>,
    /// What answers.
    pub(crate) plugins: Plugins,
}

/// Names that come in by a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    /// How they come in.
    pub(crate) listen: Listen,
    /// The zone that they are in.
    pub(crate) zone: Name,
    /// The port.
    pub(crate) port: u16,
}

/// How queries come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Listen {
    /// In datagrams and on connections (RFC 1035).
    Dns,
    /// On connections under TLS (RFC 7858).
    Tls,
    /// By HTTP under TLS (RFC 8484).
    Https,
}

impl Listen {
    /// The port that is meant when none is named.
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Dns => 53,
            Self::Tls => 853,
            Self::Https => 443,
        }
    }

    /// What stands before the zone in a server block's key, and in the label `server` of metrics.
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Https => "https",
        }
    }
}

/// What a server block is made of. A query passes them in this order, whatever that of the Corefile.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plugins {
    /// `tls`: the certificate for `tls://` and `https://` keys.
    pub(crate) tls: Option<Tls>,
    /// `reload`: how often the Corefile is looked at.
    pub(crate) reload: Option<Duration>,
    /// `bufsize`: the largest reply over UDP, in bytes.
    pub(crate) buffer: Option<u16>,
    /// `multisocket`: how many sockets share the queries of an address.
    pub(crate) sockets: Option<usize>,
    /// `ready`: where to ask whether names are known.
    pub(crate) ready: Option<SocketAddr>,
    /// `health`: where to ask whether the server lives.
    pub(crate) health: Option<Health>,
    /// `prometheus`: where metrics are.
    pub(crate) metrics: Option<SocketAddr>,
    /// `errors`: failures are logged.
    pub(crate) errors: bool,
    /// `log`: queries are logged.
    pub(crate) log: Option<Log>,
    /// `rrl`: how many replies an address outside the cluster gets.
    pub(crate) limits: Option<Limits>,
    /// `loadbalance`: addresses come in another order each time.
    pub(crate) balance: bool,
    /// `cache`.
    pub(crate) cache: Option<Cache>,
    /// `rewrite`, in order.
    pub(crate) rewrite: Vec<Rewrite>,
    /// `autopath`.
    pub(crate) autopath: Option<Autopath>,
    /// `template`, in order.
    pub(crate) template: Vec<Template>,
    /// `transfer`, in order.
    pub(crate) transfer: Vec<Transfer>,
    /// `hosts`.
    pub(crate) hosts: Option<Hosts>,
    /// `kubernetes`.
    pub(crate) kubernetes: Option<Kubernetes>,
    /// `loop`: queries that come back are noticed.
    pub(crate) detect_loops: bool,
    /// `forward`, in order.
    pub(crate) forward: Vec<Forward>,
}

impl Plugins {
    /// The names of the directives that are there.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let all = [
            ("tls", self.tls.is_some()),
            ("reload", self.reload.is_some()),
            ("bufsize", self.buffer.is_some()),
            ("multisocket", self.sockets.is_some()),
            ("ready", self.ready.is_some()),
            ("health", self.health.is_some()),
            ("prometheus", self.metrics.is_some()),
            ("errors", self.errors),
            ("log", self.log.is_some()),
            ("rrl", self.limits.is_some()),
            ("loadbalance", self.balance),
            ("cache", self.cache.is_some()),
            ("rewrite", !self.rewrite.is_empty()),
            ("autopath", self.autopath.is_some()),
            ("template", !self.template.is_empty()),
            ("transfer", !self.transfer.is_empty()),
            ("hosts", self.hosts.is_some()),
            ("kubernetes", self.kubernetes.is_some()),
            ("loop", self.detect_loops),
            ("forward", !self.forward.is_empty()),
        ];
        all.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
    }
}

/// The directive `tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    /// The certificate chain, PEM.
    pub(crate) certificate: PathBuf,
    /// Its private key, PEM.
    pub(crate) key: PathBuf,
}

/// The directive `health`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    /// Where.
    pub(crate) address: SocketAddr,
    /// How long queries are still answered after the end was announced.
    pub(crate) lame_duck: Duration,
}

/// The directive `log`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    /// Only names in these zones; none means all.
    pub(crate) zones: Vec<Name>,
    /// Only replies of these classes: `success`, `denial`, `error`, `all`; none means all.
    pub(crate) classes: Vec<LogClass>,
}

/// A class of replies that can be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogClass {
    /// NOERROR with records.
    Success,
    /// NXDOMAIN and NODATA.
    Denial,
    /// Everything else.
    Error,
}

/// The directive `rrl`: response rate limiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Replies a second to one network (a /24 or /56) that is not the cluster's; at least 1.
    pub(crate) responses_per_second: u32,
    /// Every which of the replies over that is sent truncated, so that a real client comes back over TCP; the
    /// others are not sent. 0 sends none.
    pub(crate) slip: u32,
}
