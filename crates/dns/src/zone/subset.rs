//! Endpoints that serve the same ports, as in the `subsets` of the API Endpoints. They take as few bytes as possible:
//! there may be hundreds of thousands.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use service::objects::{EndpointSlice, Protocol};

use super::dashed;
use crate::wire::Name;

/// A port that SRV records are made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Port {
    /// Its name in lower case; empty if it has none.
    pub(crate) name: Box<[u8]>,
    /// Its protocol.
    pub(crate) protocol: Protocol,
    /// Its number.
    pub(crate) number: u16,
}

/// Ready endpoints that serve the same ports. Each address is there once with each of its labels, in the order of
/// labels.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Subset {
    /// The ports, in order.
    pub(crate) ports: Arc<[Port]>,
    /// The endpoints without a hostname: their labels are their addresses.
    v4: Box<[Ipv4Addr]>,
    v6: Box<[Ipv6Addr]>,
    /// The endpoints with a hostname, which is given as labels in wire form.
    named: Box<[(Box<[u8]>, IpAddr)]>,
}

/// The label of an endpoint in front of the name of its Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Label<'a> {
    /// The address with dashes.
    Dashed(IpAddr),
    /// The hostname, as a label in wire form.
    Hostname(&'a [u8]),
}

impl Label<'_> {
    /// The label in wire form; it is written into `buffer` if it is an address.
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

impl Subset {
    /// The ready endpoints of a slice.
    pub(crate) fn of(slice: &EndpointSlice, ports: Arc<[Port]>) -> Self {
        let ready = slice.endpoints.iter().filter(|endpoint| endpoint.ready);
        let hosts = ready.map(|endpoint| {
            let hostname = endpoint.hostname.as_deref().and_then(hostname);
            (hostname, endpoint.address)
        });
        Self::collect(ports, hosts)
    }

    /// The endpoints of several subsets with the same ports. An endpoint that several slices name is there once.
    pub(crate) fn merged(subsets: &[&Arc<Self>]) -> Self {
        let ports = subsets.first().map_or_else(Default::default, |subset| subset.ports.clone());
        let hosts = subsets.iter().flat_map(|subset| subset.hosts()).map(|(label, address)| match label {
            Label::Dashed(_) => (None, address),
            Label::Hostname(label) => (Some(label.into()), address),
        });
        Self::collect(ports, hosts)
    }

    fn collect(ports: Arc<[Port]>, hosts: impl Iterator<Item = (Option<Box<[u8]>>, IpAddr)>) -> Self {
        let (mut v4, mut v6, mut named) = (Vec::new(), Vec::new(), Vec::new());
        for host in hosts {
            match host {
                (Some(label), address) => named.push((label, address)),
                (None, IpAddr::V4(address)) => v4.push(address),
                (None, IpAddr::V6(address)) => v6.push(address),
            }
        }
        Self { ports, v4: sorted(v4), v6: sorted(v6), named: sorted(named) }
    }

    /// Whether there is no endpoint.
    pub(crate) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty() && self.named.is_empty()
    }

    /// The endpoints with their labels, in order of label.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = (Label<'_>, IpAddr)> {
        let v4 = self.v4.iter().copied().map(IpAddr::from);
        let dashed = v4.chain(self.v6.iter().copied().map(IpAddr::from));
        let named = self.named.iter().map(|(label, address)| (Label::Hostname(label), *address));
        dashed.map(|address| (Label::Dashed(address), address)).chain(named)
    }

    /// The labels, each once; with `only` that label, if an endpoint has it.
    pub(crate) fn labels<'a>(&'a self, only: Option<Label<'a>>) -> impl Iterator<Item = Label<'a>> + 'a {
        let all = self.hosts().filter(move |_| only.is_none()).map(|(label, _)| label);
        let mut last = None;
        let all = all.filter(move |label| last.replace(*label) != Some(*label));
        only.into_iter().filter(|label| self.addresses(*label).next().is_some()).chain(all)
    }

    /// The addresses of the endpoints with a label.
    pub(crate) fn addresses(&self, label: Label<'_>) -> impl Iterator<Item = IpAddr> {
        let dashed = match label {
            Label::Dashed(IpAddr::V4(v4)) => self.v4.binary_search(&v4).is_ok().then_some(IpAddr::V4(v4)),
            Label::Dashed(IpAddr::V6(v6)) => self.v6.binary_search(&v6).is_ok().then_some(IpAddr::V6(v6)),
            Label::Hostname(_) => None,
        };
        let named = match label {
            Label::Hostname(label) => {
                let start = self.named.partition_point(|(known, _)| **known < *label);
                let length = self.named[start..].partition_point(|(known, _)| **known == *label);
                &self.named[start..start + length]
            }
            Label::Dashed(_) => &[],
        };
        dashed.into_iter().chain(named.iter().map(|(_, address)| *address))
    }
}

fn sorted<T: Ord>(mut all: Vec<T>) -> Box<[T]> {
    all.sort_unstable();
    all.dedup();
    all.into()
}

/// A hostname as labels in wire form: one, or two with that of the cluster (KEP-1645). `None` if it is no domain name.
fn hostname(text: &str) -> Option<Box<[u8]>> {
    let name = Name::from_text(text).ok().filter(|name| name.labels() > 0)?;
    Some(name.span(0, name.labels()).into())
}
