//! What a name means: the grammar of the zone, read from the right.

use std::net::IpAddr;

use service::objects::Protocol;

use super::records::Port;
use super::{Behind, Host, Records, Zone, dashed, reverse};
use crate::wire::Name;

/// What a name means.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// A name that is not the cluster's.
    Foreign,
    /// The domain itself.
    Apex,
    /// A name that is only there because longer ones are (RFC 8020).
    Empty,
    /// No name.
    Missing,
    /// `dns-version.<domain>` (specification 2.2).
    Version,
    /// `ns.dns.<domain>`, this server.
    Server,
    /// `<address with dashes>.<namespace>.pod.<domain>`.
    Pod(IpAddr),
    /// The address of a Service or endpoint, as a name.
    Address(IpAddr),
    /// The name of an ExternalName Service, leading to a name in wire form.
    Alias(&'a [u8]),
    /// A name of a Service, and which of its records the name stands for.
    Service(&'a Records, Filter<'a>),
}

/// Which records of a Service a name stands for.
#[derive(Debug, Default)]
pub(crate) struct Filter<'a> {
    /// Only the endpoints under this label, in wire form.
    pub(crate) host: Option<&'a [u8]>,
    /// Only the ports of this name and protocol.
    pub(crate) port: Option<(&'a [u8], Protocol)>,
}

/// Where a name is.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// What it means.
    pub(crate) found: Found<'a>,
    /// How many labels it has in front of the apex of its zone.
    pub(crate) below: usize,
}

impl Zone {
    /// What a name means.
    pub(crate) fn find<'a>(&'a self, name: &'a Name) -> Place<'a> {
        if let Some(below) = name.below(self.domain()) {
            return Place { found: self.in_domain(name, below), below };
        }
        match reverse::address(name) {
            // What is no address of the cluster's may be one of the network's around it.
            Some((address, below)) if !self.synced() || self.knows(address) => {
                Place { found: Found::Address(address), below }
            }
            _ => Place { found: Found::Foreign, below: 0 },
        }
    }

    fn in_domain<'a>(&'a self, name: &'a Name, below: usize) -> Found<'a> {
        let Some(front) = below.checked_sub(1) else { return Found::Apex };
        match (name.label(front), front) {
            (b"svc" | b"pod" | b"dns", 0) => Found::Empty,
            (b"svc" | b"pod", 1) if self.namespaces.contains_key(name.span(0, 1)) => Found::Empty,
            (b"svc", 2..=4) => self.service_name(name, front),
            (b"pod", 2) if self.namespaces.contains_key(name.span(1, 2)) => {
                dashed::read(name.label(0)).map_or(Found::Missing, Found::Pod)
            }
            (b"dns-version", 0) => Found::Version,
            (b"dns", 1) if name.label(0) == b"ns" => Found::Server,
            _ => Found::Missing,
        }
    }

    /// A name whose `front` labels before `svc` are those of a Service and perhaps of its parts.
    fn service_name<'a>(&'a self, name: &'a Name, front: usize) -> Found<'a> {
        let Some(records) = self.services.get(name.span(front - 2, front)) else { return Found::Missing };
        match (&records.behind, front) {
            (Behind::Nothing, _) => Found::Missing,
            (Behind::Alias(target), 2) => Found::Alias(target),
            (Behind::Alias(_), _) => Found::Missing,
            (_, 2) => Found::Service(records, Filter::default()),
            (_, 3) => records.part(name.span(0, 1)),
            _ => {
                let Some(port) = port(name.label(0), name.label(1)) else { return Found::Missing };
                let filter = Filter { host: None, port: Some(port) };
                if records.serves(&filter) { Found::Service(records, filter) } else { Found::Missing }
            }
        }
    }
}

/// The port that the labels `_<name>._<protocol>` mean (specification 2.3.2). An unnamed port has no label.
fn port<'a>(name: &'a [u8], protocol: &[u8]) -> Option<(&'a [u8], Protocol)> {
    let name = name.strip_prefix(b"_").filter(|name| !name.is_empty())?;
    Some((name, transport(protocol)?))
}

fn transport(label: &[u8]) -> Option<Protocol> {
    match label {
        b"_tcp" => Some(Protocol::Tcp),
        b"_udp" => Some(Protocol::Udp),
        b"_sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}

impl Filter<'_> {
    /// Whether a port is meant.
    pub(crate) fn takes(&self, port: &Port) -> bool {
        self.port.is_none_or(|(name, protocol)| *port.name == *name && port.protocol == protocol)
    }
}

impl Records {
    /// What a label in front of the Service's name means: an endpoint, or a protocol that ports are under.
    fn part<'a>(&'a self, label: &'a [u8]) -> Found<'a> {
        if self.groups.iter().any(|group| !group.named(label).is_empty()) {
            return Found::Service(self, Filter { host: Some(label), port: None });
        }
        let transport = transport(&label[1..]);
        let named = self.all_ports().any(|port| !port.name.is_empty() && Some(port.protocol) == transport);
        if named { Found::Empty } else { Found::Missing }
    }

    fn serves(&self, filter: &Filter<'_>) -> bool {
        self.all_ports().any(|port| filter.takes(port))
    }

    /// The ports that SRV records of the Service tell of.
    fn all_ports(&self) -> impl Iterator<Item = &Port> {
        let of_endpoints = self.groups.iter().filter(|_| self.behind == Behind::Endpoints);
        self.ports.iter().chain(of_endpoints.flat_map(|group| group.ports.iter()))
    }

    /// What SRV records lead to: each port with the label of each endpoint that serves it, empty for the Service
    /// itself. The ports of a Service with a ClusterIP are served there, those of endpoints by the endpoints.
    pub(crate) fn locations<'a>(
        &'a self,
        filter: &'a Filter<'a>,
    ) -> impl Iterator<Item = (&'a Port, &'a [u8])> + 'a {
        let of_endpoints = filter.host.is_some() || self.behind == Behind::Endpoints;
        let own = self.ports.iter().filter(move |port| !of_endpoints && filter.takes(port));
        let groups = self.groups.iter().filter(move |_| of_endpoints);
        let endpoints = groups.flat_map(move |group| {
            let ports = group.ports.iter().filter(move |port| filter.takes(port));
            let hosts = filter.host.map_or(&*group.hosts, |label| group.named(label));
            // One name may have an address in each family; it is one target.
            let targets = hosts.chunk_by(|one, next| one.label == next.label);
            ports.flat_map(move |port| targets.clone().map(move |hosts| (port, &*hosts[0].label)))
        });
        own.map(|port| (port, &[][..])).chain(endpoints)
    }

    /// The addresses of the endpoints under a label.
    pub(crate) fn addresses_of<'a>(&'a self, label: &'a [u8]) -> impl Iterator<Item = IpAddr> + 'a {
        let hosts = self.groups.iter().flat_map(move |group| group.named(label));
        hosts.map(|host: &Host| host.address)
    }
}
