//! What the names of one Service hold.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use service::Cluster;
use service::ServiceName;
use service::objects::{ClusterIps, EndpointSlice, Protocol, Service, ServiceType};

use super::{Key, dashed, key};
use crate::wire::Name;

/// What the names of one Service hold, made once per change and only read by queries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Records {
    /// What the Service is looked up by.
    pub(crate) key: Key,
    /// What is behind the name.
    pub(crate) behind: Behind,
    /// IPv4 addresses of the Service's own name, each once.
    pub(crate) v4: Box<[Ipv4Addr]>,
    /// IPv6 addresses of the Service's own name, each once.
    pub(crate) v6: Box<[Ipv6Addr]>,
    /// Ports of the Service's own name; a headless Service has none, its endpoints do.
    pub(crate) ports: Box<[Port]>,
    /// The ready endpoints, together with those that serve the same ports.
    pub(crate) groups: Box<[Group]>,
}

/// What is behind the name of a Service.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// Addresses of its own.
    ClusterIp,
    /// The addresses of its ready endpoints.
    Endpoints,
    /// Another name (type ExternalName), in wire form.
    Alias(Box<[u8]>),
    /// Nothing that can be named: the external name is an address or no domain name, or the headless Service
    /// has no ready endpoint.
    Nothing,
}

/// A port that an SRV record tells of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    /// Its name, empty if it has none.
    pub(crate) name: Box<[u8]>,
    /// Its protocol.
    pub(crate) protocol: Protocol,
    /// Its number.
    pub(crate) number: u16,
}

/// Endpoints that serve the same ports.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Their ports.
    pub(crate) ports: Box<[Port]>,
    /// The endpoints in order of label, then address; those without a hostname first.
    pub(crate) hosts: Box<[Host]>,
}

/// One address of an endpoint under its name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Host {
    /// The hostname as a label in wire form; without one the endpoint is named after its address.
    pub(crate) hostname: Option<Box<[u8]>>,
    /// The address.
    pub(crate) address: IpAddr,
}

/// The label of an endpoint in front of its Service's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Label<'a> {
    /// The address with dashes.
    Dashed(IpAddr),
    /// The hostname, as a label in wire form.
    Hostname(&'a [u8]),
}

impl Label<'_> {
    /// The label in wire form, in a buffer of its own if it must be made.
    pub(crate) fn wire<'b>(&'b self, buffer: &'b mut [u8; 64]) -> &'b [u8] {
        match self {
            Self::Hostname(label) => label,
            Self::Dashed(address) => {
                let length = dashed::write(*address, &mut buffer[1..]);
                buffer[0] = length as u8;
                &buffer[..=length]
            }
        }
    }
}

impl Host {
    /// The label of the endpoint.
    pub(crate) fn label(&self) -> Label<'_> {
        match &self.hostname {
            Some(hostname) => Label::Hostname(hostname),
            None => Label::Dashed(self.address),
        }
    }
}

impl Group {
    /// The endpoints of a label.
    pub(crate) fn named(&self, label: Label<'_>) -> &[Host] {
        let start = self.hosts.partition_point(|host| host.label() < label);
        let length = self.hosts[start..].partition_point(|host| host.label() == label);
        &self.hosts[start..start + length]
    }
}

/// What the records of Services depend on besides the Services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Naming {
    /// A Service without ready endpoints is no name.
    pub(crate) ignore_empty: bool,
}

impl Records {
    /// The records of a Service, `None` if there is no such Service.
    pub(crate) fn of(cluster: &Cluster, name: &ServiceName, naming: Naming) -> Option<Self> {
        let service = cluster.service(name)?;
        let groups = if service.kind == ServiceType::ExternalName {
            Box::default()
        } else {
            groups(cluster.slices(name))
        };
        let behind = behind(service, &groups, naming);
        let addresses: BTreeSet<IpAddr> = match behind {
            Behind::ClusterIp => service.cluster_ips().iter().copied().collect(),
            _ => groups.iter().flat_map(|group| group.hosts.iter().map(|host| host.address)).collect(),
        };
        let ports = if behind == Behind::ClusterIp { service_ports(service) } else { Box::default() };
        Some(Self {
            key: key(name),
            behind,
            v4: addresses
                .iter()
                .filter_map(|address| if let IpAddr::V4(v4) = address { Some(*v4) } else { None })
                .collect(),
            v6: addresses
                .iter()
                .filter_map(|address| if let IpAddr::V6(v6) = address { Some(*v6) } else { None })
                .collect(),
            ports,
            groups,
        })
    }
}

fn behind(service: &Service, groups: &[Group], naming: Naming) -> Behind {
    match (service.kind, &service.cluster_ips) {
        (ServiceType::ExternalName, _) => {
            alias(service.external_name.as_deref().unwrap_or_default()).map_or(Behind::Nothing, Behind::Alias)
        }
        (_, ClusterIps::Addresses(_)) if naming.ignore_empty && groups.is_empty() => Behind::Nothing,
        (_, ClusterIps::Addresses(_)) => Behind::ClusterIp,
        (_, ClusterIps::Headless) if groups.is_empty() => Behind::Nothing,
        (_, ClusterIps::Headless) => Behind::Endpoints,
    }
}

/// The external name in wire form, unless it is an address, which no CNAME can name.
fn alias(text: &str) -> Option<Box<[u8]>> {
    let address = text.parse::<IpAddr>().is_ok();
    (!address).then(|| Name::from_text(text).ok())?.map(|name| name.wire().into())
}

fn service_ports(service: &Service) -> Box<[Port]> {
    let ports = service.ports.iter();
    ports.map(|port| Port { name: lower(&port.name), protocol: port.protocol, number: port.port }).collect()
}

/// The ready endpoints of all slices, each once however many managers name it.
fn groups<'a>(slices: impl Iterator<Item = &'a EndpointSlice>) -> Box<[Group]> {
    let mut groups = BTreeMap::<Box<[Port]>, BTreeSet<Host>>::new();
    for slice in slices {
        let ports = slice.ports.iter();
        let mut ports: Box<[Port]> = ports
            .map(|port| Port { name: lower(&port.name), protocol: port.protocol, number: port.port })
            .collect();
        ports.sort();
        let ready = slice.endpoints.iter().filter(|endpoint| endpoint.ready);
        let mut hosts = ready.map(|endpoint| Host {
            hostname: endpoint.hostname.as_deref().and_then(hostname),
            address: endpoint.address,
        });
        if let Some(first) = hosts.next() {
            let group = groups.entry(ports).or_default();
            group.insert(first);
            group.extend(hosts);
        }
    }
    groups.into_iter().map(|(ports, hosts)| Group { ports, hosts: hosts.into_iter().collect() }).collect()
}

/// A hostname in wire form, without a root; one label, or two with that of a cluster. `None` if it is no name.
fn hostname(text: &str) -> Option<Box<[u8]>> {
    let name = Name::from_text(text).ok().filter(|name| name.labels() > 0)?;
    Some(name.span(0, name.labels()).into())
}

fn lower(name: &str) -> Box<[u8]> {
    name.to_ascii_lowercase().into_bytes().into()
}
