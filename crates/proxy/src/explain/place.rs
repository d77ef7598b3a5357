//! Who is meant by a word in a question.

use std::net::{IpAddr, SocketAddr};

use service::objects::Protocol;
use service::{Family, ServiceName};
use thiserror::Error;

use crate::packet::Packet;
use crate::sight::{Interface, LocalPods};
use crate::still::Still;

/// Addresses that nobody has (RFC 5737, RFC 3849): one of them stands for a client outside.
const OUTSIDE: [&str; 6] =
    ["198.51.100.77", "203.0.113.77", "192.0.2.77", "2001:db8:77::77", "2001:db8:78::77", "2001:db8:79::77"];

/// Stands for any interface that no pod is behind.
const UPLINK: &str = "uplink";

/// Who sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Somebody outside the cluster (`external`).
    External,
    /// Any pod (`pod`).
    AnyPod,
    /// A process on this node (`node`).
    ThisNode,
    /// Whoever has this address.
    Address(IpAddr),
    /// A pod or a node of this name; pods as `namespace/name` or, in `default`, by their name alone.
    Named(String),
}

/// A question names something that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnknownPlace {
    /// No pod, node or address.
    #[error("{0:?} is no pod or node of the objects, no IP address, and none of external, pod, node")]
    Source(String),
    /// The source has no address of the destination's family.
    #[error("{0} has no {1} address")]
    NoAddress(String, Family),
    /// No destination.
    #[error(
        "{0:?} is no destination; write ADDRESS:PORT, [ADDRESS]:PORT, NAMESPACE/SERVICE:PORT or NODE:PORT, with /udp or /sctp for other protocols than TCP"
    )]
    Destination(String),
}

impl Place {
    /// Reads a word.
    pub fn read(text: &str) -> Self {
        match text {
            "external" => Self::External,
            "pod" => Self::AnyPod,
            "node" => Self::ThisNode,
            _ => match text.trim_matches(['[', ']']).parse() {
                Ok(address) => Self::Address(address),
                Err(_) => Self::Named(text.strip_prefix("pod/").unwrap_or(text).to_owned()),
            },
        }
    }

    /// The packet that somebody there sends.
    ///
    /// # Errors
    /// [`UnknownPlace`] when nobody of that name is there.
    pub fn packet(
        &self,
        still: &Still,
        destination: SocketAddr,
        protocol: Protocol,
    ) -> Result<Packet, UnknownPlace> {
        let source = self.address(still, Family::of(destination.ip()), destination.ip())?;
        let interface = interface(still, source);
        Ok(Packet { source, destination, protocol, interface })
    }

    fn address(&self, still: &Still, family: Family, destination: IpAddr) -> Result<IpAddr, UnknownPlace> {
        let sight = still.sight();
        let first = |addresses: &[IpAddr], who: &str| {
            let mut addresses = addresses.iter().copied();
            let found = addresses.find(|address| Family::of(*address) == family);
            found.ok_or_else(|| UnknownPlace::NoAddress(who.to_owned(), family))
        };
        match self {
            Self::Address(address) => Ok(*address),
            // A process that talks to a loopback address does so from one.
            Self::ThisNode if destination.is_loopback() => Ok(destination),
            Self::ThisNode => first(&sight.node.addresses, "the node")
                .or_else(|_| first(&sight.node.interface_addresses, "the node")),
            Self::External => {
                let nobody = OUTSIDE.iter().filter_map(|text| text.parse().ok()).filter(|address| {
                    !sight.node.is_local(*address) && *address != destination && !is_pod(still, *address)
                });
                first(&nobody.collect::<Vec<_>>(), "external")
            }
            Self::AnyPod => {
                let ranges = match sight.local_pods(family) {
                    LocalPods::From(ranges) => ranges,
                    LocalPods::Unknown | LocalPods::Through(_) => sight.node.pod_cidrs.clone(),
                };
                let last = ranges.first().and_then(|range| range.nth(range.size().checked_sub(2)?));
                last.filter(|address| Family::of(*address) == family)
                    .ok_or_else(|| UnknownPlace::NoAddress("pod".to_owned(), family))
            }
            Self::Named(name) => {
                let (namespace, pod) = name.split_once('/').unwrap_or(("default", name));
                let is_it = |metadata: &service::objects::Metadata| {
                    *metadata.namespace == *namespace && *metadata.name == *pod
                };
                if let Some(pod) = still.pods().iter().find(|pod| is_it(&pod.metadata)) {
                    return first(&pod.addresses, name);
                }
                let node = name.strip_prefix("node/").unwrap_or(name);
                match still.nodes().iter().find(|other| *other.metadata.name == *node) {
                    Some(node) => first(&node.addresses, name),
                    None => Err(UnknownPlace::Source(name.clone())),
                }
            }
        }
    }
}

fn is_pod(still: &Still, address: IpAddr) -> bool {
    match still.sight().local_pods(Family::of(address)) {
        LocalPods::From(ranges) => ranges.iter().any(|range| range.contains(address)),
        LocalPods::Unknown | LocalPods::Through(_) => false,
    }
}

/// The interface a packet comes in by, when pods are told by that: none if this node makes it itself.
fn interface(still: &Still, source: IpAddr) -> Option<String> {
    let sight = still.sight();
    let LocalPods::Through(interface) = sight.local_pods(Family::of(source)) else { return None };
    let here = sight.node.pod_cidrs.iter().any(|range| range.contains(source))
        || still.pods().iter().any(|pod| {
            pod.node.as_ref() == Some(&sight.node.viewpoint.node) && pod.addresses.contains(&source)
        });
    match (here, interface) {
        (true, Interface::Named(name)) => Some(name),
        (true, Interface::Prefixed(prefix)) => Some(format!("{prefix}0")),
        (false, _) => (!sight.node.is_local(source)).then(|| UPLINK.to_owned()),
    }
}

/// Reads where a packet goes: an address, a Service or a node, with a port.
///
/// # Errors
/// [`UnknownPlace::Destination`] when it is none of these.
pub fn destination(still: &Still, text: &str) -> Result<(SocketAddr, Protocol), UnknownPlace> {
    let unknown = || UnknownPlace::Destination(text.to_owned());
    let (place, protocol) = match text.rsplit_once('/') {
        Some((place, "tcp" | "TCP")) => (place, Protocol::Tcp),
        Some((place, "udp" | "UDP")) => (place, Protocol::Udp),
        Some((place, "sctp" | "SCTP")) => (place, Protocol::Sctp),
        _ => (text, Protocol::Tcp),
    };
    if let Ok(address) = place.parse::<SocketAddr>() {
        return Ok((address, protocol))
            .and_then(|found| if found.0.port() == 0 { Err(unknown()) } else { Ok(found) });
    }
    let (name, port) = place.rsplit_once(':').ok_or_else(unknown)?;
    let port: u16 = port.parse().ok().filter(|port| *port != 0).ok_or_else(unknown)?;
    let (namespace, service) = name.split_once('/').unwrap_or(("default", name));
    let service = ServiceName::new(namespace, service);
    let service_ip =
        still.sight().cluster.service(&service).and_then(|service| service.cluster_ips().first().copied());
    let node_ip = || {
        let node = still.nodes().iter().find(|node| *node.metadata.name == *name)?;
        node.addresses.first().copied()
    };
    let address = service_ip.or_else(node_ip).ok_or_else(unknown)?;
    Ok((SocketAddr::new(address, port), protocol))
}
