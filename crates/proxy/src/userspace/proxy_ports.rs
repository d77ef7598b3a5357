//! Proxy ports: where redirected packets enter the proxy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use service::objects::Protocol;
use service::{Family, List, PortView, ServiceName};

/// The first port of a proxy port in rules that are only shown.
const FIRST_SHOWN: u16 = 40_000;

/// One way into the proxy: a Service port in one family, and which of its endpoints may be chosen. A redirected
/// packet does not say where it was sent to; so there is a proxy port for each list of endpoints that clients may get.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProxyPort {
    /// The Service.
    pub service: ServiceName,
    /// The name of its port.
    pub port: Arc<str>,
    /// The protocol of its port: TCP or UDP.
    pub protocol: Protocol,
    /// The family.
    pub family: Family,
    /// Which endpoints.
    pub scope: Scope,
}

/// Which endpoints may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Those of the whole cluster.
    Cluster,
    /// Those of this node.
    Local,
}

/// Where a proxy port is on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its port.
    pub port: u16,
    /// Its address; `None` for a proxy port that is open at all of them.
    pub address: Option<IpAddr>,
}

/// Where each proxy port is.
pub type ProxyPorts = BTreeMap<ProxyPort, Target>;

impl Scope {
    /// That of a traffic policy.
    pub(super) fn of(local: bool) -> Self {
        if local { Self::Local } else { Self::Cluster }
    }
}

impl ProxyPort {
    pub(super) fn of(view: &PortView<'_>, scope: Scope) -> Self {
        Self {
            service: view.service.name(),
            port: view.port.name.clone(),
            protocol: view.port.protocol,
            family: view.family,
            scope,
        }
    }
}

/// The proxy ports that a Service port needs, each with its endpoints. SCTP has none: the proxy does not speak it.
pub(super) fn proxy_ports<'a>(view: &'a PortView<'_>) -> impl Iterator<Item = (ProxyPort, &'a List)> {
    let uses = [
        (Scope::Cluster, view.uses_cluster_endpoints(), &view.choice.cluster),
        (Scope::Local, view.uses_local_endpoints(), &view.choice.local),
    ];
    uses.into_iter()
        .filter(|(_, used, list)| *used && !list.endpoints.is_empty() && view.port.protocol != Protocol::Sctp)
        .map(|(scope, _, list)| (ProxyPort::of(view, scope), list))
}

/// The address that a proxy port is to be open at, on a node with this primary address.
///
/// An answer over UDP must leave from the address that its packet was redirected to, which only a socket bound to
/// that address ensures. A TCP connection knows its addresses.
pub(super) fn address(protocol: Protocol, primary: Option<IpAddr>) -> Option<IpAddr> {
    primary.filter(|_| protocol == Protocol::Udp)
}

/// Ports for rules that are only shown: those that are known, and free ones in order. Proxy ports beyond the last port
/// have none.
pub(super) fn numbered(
    proxy_ports: Vec<(ProxyPort, Option<IpAddr>)>,
    known: impl Fn(&ProxyPort) -> Option<u16>,
) -> ProxyPorts {
    let taken: BTreeSet<_> = proxy_ports.iter().filter_map(|(proxy_port, _)| known(proxy_port)).collect();
    let mut free = (FIRST_SHOWN..=u16::MAX).filter(|port| !taken.contains(port));
    let number = |(proxy_port, address)| {
        let port = known(&proxy_port).or_else(|| free.next())?;
        Some((proxy_port, Target { port, address }))
    };
    proxy_ports.into_iter().filter_map(number).collect()
}

impl fmt::Display for Target {
    /// The target of a rule that leads here.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => {
                write!(f, "DNAT --to-destination {}", SocketAddr::new(address, self.port))
            }
            None => write!(f, "REDIRECT --to-ports {}", self.port),
        }
    }
}
