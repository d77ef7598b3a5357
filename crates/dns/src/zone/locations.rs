//! Where a Service is served: what SRV records and the addresses of ports and endpoints are made from.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Behind, Filter, Group, Label, Port, Records};

/// A port and a name that serves it.
#[derive(Debug)]
pub(crate) struct Location<'a> {
    /// The port.
    pub(crate) port: &'a Port,
    /// The endpoint's label; `None` for the Service itself.
    pub(crate) label: Option<Label<'a>>,
    /// Whether the same name came with no other port before.
    pub(crate) first: bool,
}

impl Records {
    /// What SRV records lead to: each port with each name that serves it. The ports of a Service with a ClusterIP
    /// are served there, those of endpoints by the endpoints.
    ///
    /// A name with a number comes once (RFC 2181, 5), though ports of several protocols and slices have it.
    pub(crate) fn locations<'a>(&'a self, filter: &'a Filter<'a>) -> impl Iterator<Item = Location<'a>> + 'a {
        let of_endpoints = filter.host.is_some() || self.behind == Behind::Endpoints;
        let own = distinct(if of_endpoints { &[] } else { &self.ports }, filter).enumerate();
        let own = own.map(|(index, port)| Location { port, label: None, first: index == 0 });
        let groups = self.groups.iter().enumerate().filter(move |_| of_endpoints);
        own.chain(groups.flat_map(move |(index, group)| {
            // One name may have an address in each family; it is one target.
            group
                .labels(filter.host)
                .flat_map(move |label| at_group(&self.groups[..index], group, label, filter))
        }))
    }

    /// The addresses of the endpoints under a label, each once.
    pub(crate) fn addresses_of<'a>(&'a self, label: Label<'a>) -> impl Iterator<Item = IpAddr> + 'a {
        self.groups.iter().enumerate().flat_map(move |(index, group)| {
            let before = &self.groups[..index];
            let told = move |address: IpAddr| {
                before.iter().any(|group| group.addresses(label).any(|other| other == address))
            };
            group.addresses(label).filter(move |address| !told(*address))
        })
    }

    /// The addresses of the endpoints that serve a port, each once.
    pub(crate) fn addresses_serving(&self, filter: &Filter<'_>) -> BTreeSet<IpAddr> {
        let serving = self.groups.iter().filter(|group| group.serves(filter));
        serving.flat_map(|group| group.hosts().map(|(_, address)| address)).collect()
    }
}

/// The ports of a name in a group that it has not in the groups before.
fn at_group<'a>(
    before: &'a [Arc<Group>],
    group: &'a Group,
    label: Label<'a>,
    filter: &'a Filter<'a>,
) -> impl Iterator<Item = Location<'a>> + 'a {
    let before =
        before.iter().filter(move |group| group.serves(filter) && group.addresses(label).next().is_some());
    let is_new = before.clone().next().is_none();
    let ports = distinct(&group.ports, filter).enumerate().filter(move |(_, port)| {
        let same = |other: &Port| filter.takes(other) && other.number == port.number;
        !before.clone().any(|group| group.ports.iter().any(same))
    });
    ports.map(move |(index, port)| Location { port, label: Some(label), first: is_new && index == 0 })
}

/// The ports that a filter takes, each number once.
fn distinct<'a>(ports: &'a [Port], filter: &'a Filter<'a>) -> impl Iterator<Item = &'a Port> + 'a {
    let taken = ports.iter().enumerate().filter(|(_, port)| filter.takes(port));
    let is_first = move |index: usize, port: &Port| {
        !ports[..index].iter().any(|other| other.number == port.number && filter.takes(other))
    };
    taken.filter(move |(index, port)| is_first(*index, port)).map(|(_, port)| port)
}

impl Group {
    fn serves(&self, filter: &Filter<'_>) -> bool {
        self.ports.iter().any(|port| filter.takes(port))
    }
}
