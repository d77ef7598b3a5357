//! Finding what a name means: the labels are read from the right, by the grammar of the specification.

use std::net::IpAddr;

use service::objects::Protocol;

use super::{AddressSource, Label, Port, Reading, Records, View, dashed};
use crate::plugin::kubernetes::PodRecords;
use crate::wire::Name;

/// What a name is in the zones of a cluster.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// A name outside of the zones of the cluster.
    Foreign,
    /// The apex of a zone.
    Apex,
    /// A name without records below which there are others: an empty non-terminal (RFC 8020).
    Empty,
    /// A name that does not exist (NXDOMAIN).
    Missing,
    /// `dns-version.<domain>` (specification 2.2).
    Version,
    /// `ns.dns.<domain>`, the name of this server.
    Server,
    /// `<address with dashes>.<namespace>.pod.<domain>`, the name of a pod.
    Pod(IpAddr),
    /// The reverse name of an address of a Service or an endpoint.
    Address(IpAddr),
    /// The name of an ExternalName Service, with the external name in wire form.
    Alias(&'a [u8]),
    /// A name of a Service or of its parts, and the records that it stands for.
    Service(&'a Records, RecordFilter<'a>),
}

/// The records of a Service that a name stands for.
#[derive(Debug, Default)]
pub(crate) struct RecordFilter<'a> {
    /// Only those of the endpoints with this label.
    pub(crate) host: Option<Label<'a>>,
    /// Only those of ports with this name and protocol.
    pub(crate) port: Option<(&'a [u8], Protocol)>,
}

impl View {
    pub(super) fn in_domain<'a>(&self, reading: &'a Reading<'_>, name: &'a Name, below: usize) -> Found<'a> {
        let Some(front) = below.checked_sub(1) else { return Found::Apex };
        match (name.label(front), front) {
            (b"svc" | b"pod" | b"dns", 0) => Found::Empty,
            (b"pod", 1 | 2) if self.pods == PodRecords::Disabled => Found::Missing,
            (b"svc" | b"pod", 1) if self.shows(reading, name.span(0, 1)) => Found::Empty,
            // If all namespaces are shown, that of a Service need not be looked up.
            (b"svc", 2..=4) if self.shows_all() || self.shows(reading, name.span(front - 1, front)) => {
                self.service_name(reading, name, front)
            }
            (b"pod", 2) if self.shows(reading, name.span(1, 2)) => self.pod(reading, name),
            (b"dns-version", 0) => Found::Version,
            (b"dns", 1) if name.label(0) == b"ns" => Found::Server,
            _ => Found::Missing,
        }
    }

    fn pod<'a>(&self, reading: &Reading<'_>, name: &Name) -> Found<'a> {
        let Some(address) = dashed::read(name.label(0)) else { return Found::Missing };
        let there = match self.pods {
            PodRecords::Disabled => false,
            PodRecords::Insecure => true,
            PodRecords::Verified => reading.pods(address).iter().any(|label| **label == *name.span(1, 2)),
        };
        if there { Found::Pod(address) } else { Found::Missing }
    }
}

impl View {
    /// A name with `front` labels before `svc`: those of a Service, perhaps with those of an endpoint or a port.
    fn service_name<'a>(&self, reading: &'a Reading<'_>, name: &'a Name, front: usize) -> Found<'a> {
        let Some(records) = reading.service(name.span(front - 2, front)) else { return Found::Missing };
        match (&records.source, front) {
            (AddressSource::Nothing, _) => Found::Missing,
            (AddressSource::Alias(target), 2) => Found::Alias(target),
            (AddressSource::Alias(_), _) => Found::Missing,
            (_, 2) => Found::Service(records, RecordFilter::default()),
            (_, 3) => records.part(name.span(0, 1)),
            (_, 4) if self.multicluster && !name.label(0).starts_with(b"_") => {
                let host = Label::Hostname(name.span(0, 2));
                let there = records.addresses_of(host).next().is_some();
                let filter = RecordFilter { host: Some(host), port: None };
                if there { Found::Service(records, filter) } else { Found::Missing }
            }
            _ => {
                let Some(port) = port(name.label(0), name.label(1)) else { return Found::Missing };
                let filter = RecordFilter { host: None, port: Some(port) };
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

impl RecordFilter<'_> {
    /// Whether a port is among the records.
    pub(crate) fn takes(&self, port: &Port) -> bool {
        self.port.is_none_or(|(name, protocol)| *port.name == *name && port.protocol == protocol)
    }
}

impl Records {
    /// What one label in front of the name of the Service means: an endpoint, or the protocol of named ports. A
    /// protocol is an empty non-terminal (RFC 8020), although CoreDNS says NXDOMAIN.
    fn part<'a>(&'a self, label: &'a [u8]) -> Found<'a> {
        let dashed = dashed::read(&label[1..]).map(Label::Dashed);
        // Only the one spelling of an address that this server writes is a name.
        let dashed = dashed.filter(|dashed| *dashed.wire(&mut [0; 64]) == *label);
        for host in [Some(Label::Hostname(label)), dashed].into_iter().flatten() {
            if self.addresses_of(host).next().is_some() {
                return Found::Service(self, RecordFilter { host: Some(host), port: None });
            }
        }
        let transport = transport(&label[1..]);
        let named = self.all_ports().any(|port| !port.name.is_empty() && Some(port.protocol) == transport);
        if named { Found::Empty } else { Found::Missing }
    }

    fn serves(&self, filter: &RecordFilter<'_>) -> bool {
        self.all_ports().any(|port| filter.takes(port))
    }

    /// The ports in SRV records of the Service.
    pub(crate) fn all_ports(&self) -> impl Iterator<Item = &Port> {
        let of_endpoints = self.subsets.iter().filter(|_| self.source == AddressSource::Endpoints);
        self.ports.iter().chain(of_endpoints.flat_map(|subset| subset.ports.iter()))
    }
}
