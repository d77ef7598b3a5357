//! The targets of SRV records, and the addresses of ports and endpoints.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::{AddressSource, Label, Port, RecordFilter, Records, Subset};

/// The target of an SRV record: a port, and the name at which it is served.
#[derive(Debug)]
pub(crate) struct SrvTarget<'a> {
    /// The port.
    pub(crate) port: &'a Port,
    /// The label of the endpoint; `None` for the Service itself.
    pub(crate) label: Option<Label<'a>>,
    /// Whether it is the first target with this name.
    pub(crate) first: bool,
}

impl Records {
    /// The targets of SRV records. Ports of a Service with a ClusterIP are served at its name, ports of a headless
    /// Service at the names of its endpoints.
    ///
    /// Ports with the same number at the same name are one target (RFC 2181, 5), even if they have several protocols
    /// or come from several slices.
    pub(crate) fn srv_targets<'a>(
        &'a self,
        filter: &'a RecordFilter<'a>,
    ) -> impl Iterator<Item = SrvTarget<'a>> + 'a {
        let of_endpoints = filter.host.is_some() || self.source == AddressSource::Endpoints;
        let own = distinct(if of_endpoints { &[] } else { &self.ports }, filter).enumerate();
        let own = own.map(|(index, port)| SrvTarget { port, label: None, first: index == 0 });
        let subsets = self.subsets.iter().enumerate().filter(move |_| of_endpoints);
        own.chain(subsets.flat_map(move |(index, subset)| {
            // A name with an address in each family is one target.
            subset
                .labels(filter.host)
                .flat_map(move |label| in_subset(&self.subsets[..index], subset, label, filter))
        }))
    }

    /// The addresses of the endpoints with a label, each once.
    pub(crate) fn addresses_of<'a>(&'a self, label: Label<'a>) -> impl Iterator<Item = IpAddr> + 'a {
        self.subsets.iter().enumerate().flat_map(move |(index, subset)| {
            let before = &self.subsets[..index];
            let told = move |address: IpAddr| {
                before.iter().any(|subset| subset.addresses(label).any(|other| other == address))
            };
            subset.addresses(label).filter(move |address| !told(*address))
        })
    }

    /// The addresses of the endpoints that serve a port, each once.
    pub(crate) fn addresses_serving(&self, filter: &RecordFilter<'_>) -> BTreeSet<IpAddr> {
        let serving = self.subsets.iter().filter(|subset| subset.serves(filter));
        serving.flat_map(|subset| subset.hosts().map(|(_, address)| address)).collect()
    }
}

/// The targets at the name of an endpoint in a subset, without those that the subsets `before` have too.
fn in_subset<'a>(
    before: &'a [Arc<Subset>],
    subset: &'a Subset,
    label: Label<'a>,
    filter: &'a RecordFilter<'a>,
) -> impl Iterator<Item = SrvTarget<'a>> + 'a {
    let before =
        before.iter().filter(move |subset| subset.serves(filter) && subset.addresses(label).next().is_some());
    let is_new = before.clone().next().is_none();
    let ports = distinct(&subset.ports, filter).enumerate().filter(move |(_, port)| {
        let same = |other: &Port| filter.takes(other) && other.number == port.number;
        !before.clone().any(|subset| subset.ports.iter().any(same))
    });
    ports.map(move |(index, port)| SrvTarget { port, label: Some(label), first: is_new && index == 0 })
}

/// The ports that a filter takes, one for each number.
fn distinct<'a>(ports: &'a [Port], filter: &'a RecordFilter<'a>) -> impl Iterator<Item = &'a Port> + 'a {
    let taken = ports.iter().enumerate().filter(|(_, port)| filter.takes(port));
    let is_first = move |index: usize, port: &Port| {
        !ports[..index].iter().any(|other| other.number == port.number && filter.takes(other))
    };
    taken.filter(move |(index, port)| is_first(*index, port)).map(|(_, port)| port)
}

impl Subset {
    fn serves(&self, filter: &RecordFilter<'_>) -> bool {
        self.ports.iter().any(|port| filter.takes(port))
    }
}
