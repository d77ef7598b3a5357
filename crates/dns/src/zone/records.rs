//! What the names of one Service hold.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use service::objects::{ClusterIps, Service, ServiceType};

use super::{Key, OneOrMany, Port, Subset};
use crate::wire::Name;

/// What the names of one Service hold, made once per change and only read by queries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Records {
    /// What the Service is looked up by.
    pub(crate) key: Key,
    /// What is source the name.
    pub(crate) source: AddressSource,
    /// IPv4 addresses of the Service's own name, each once.
    pub(crate) v4: OneOrMany<Ipv4Addr>,
    /// IPv6 addresses of the Service's own name, each once.
    pub(crate) v6: OneOrMany<Ipv6Addr>,
    /// Ports of the Service's own name; a headless Service has none, its endpoints do.
    pub(crate) ports: Arc<[Port]>,
    /// The ready endpoints, together with those that serve the same ports.
    pub(crate) subsets: Box<[Arc<Subset>]>,
}

/// What is source the name of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AddressSource {
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

/// What a Service says of its names, without its endpoints.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServiceSpec {
    source: AddressSource,
    addresses: Box<[IpAddr]>,
    ports: Arc<[Port]>,
}

/// What the records of Services depend on besides the Services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RecordOptions {
    /// A Service without ready endpoints is no name.
    pub(crate) ignore_empty: bool,
}

impl ServiceSpec {
    /// What a Service says; `ports` are its ports.
    pub(crate) fn of(service: &Service, ports: Arc<[Port]>) -> Self {
        let source = match (service.kind, &service.cluster_ips) {
            (ServiceType::ExternalName, _) => {
                let name = service.external_name.as_deref().unwrap_or_default();
                alias(name).map_or(AddressSource::Nothing, AddressSource::Alias)
            }
            (_, ClusterIps::Addresses(_)) => AddressSource::ClusterIp,
            (_, ClusterIps::Headless) => AddressSource::Endpoints,
        };
        let own = if source == AddressSource::ClusterIp { service.cluster_ips() } else { &[] };
        Self { source, addresses: own.into(), ports }
    }

    /// Whether endpoints belong to it at all.
    fn has_endpoints(&self) -> bool {
        matches!(self.source, AddressSource::ClusterIp | AddressSource::Endpoints)
    }
}

impl Records {
    /// The records of a Service with the endpoints of its slices.
    pub(crate) fn of<'a>(
        key: Key,
        spec: &ServiceSpec,
        slices: impl Iterator<Item = &'a Arc<Subset>>,
        options: RecordOptions,
    ) -> Self {
        let subsets = subsets(slices.filter(|_| spec.has_endpoints()));
        let source = match (&spec.source, subsets.is_empty()) {
            (AddressSource::Endpoints, true) => AddressSource::Nothing,
            (AddressSource::ClusterIp, true) if options.ignore_empty => AddressSource::Nothing,
            (source, _) => source.clone(),
        };
        let of_endpoints = subsets.iter().filter(|_| source == AddressSource::Endpoints);
        let addresses = of_endpoints.flat_map(|subset| subset.hosts().map(|(_, address)| address));
        let addresses = addresses.chain(spec.addresses.iter().copied());
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in addresses {
            match address {
                IpAddr::V4(address) => v4.push(address),
                IpAddr::V6(address) => v6.push(address),
            }
        }
        v4.sort_unstable();
        v6.sort_unstable();
        v4.dedup();
        v6.dedup();
        let own_ports = source == AddressSource::ClusterIp;
        let ports = if own_ports { spec.ports.clone() } else { Default::default() };
        Self { key, source, v4: v4.into(), v6: v6.into(), ports, subsets }
    }
}

/// The endpoints of all slices by their ports. One slice with its ports to itself is shared, not copied.
fn subsets<'a>(slices: impl Iterator<Item = &'a Arc<Subset>>) -> Box<[Arc<Subset>]> {
    let mut by_ports = BTreeMap::<&[Port], Vec<&Arc<Subset>>>::new();
    for slice in slices.filter(|slice| !slice.is_empty()) {
        by_ports.entry(&slice.ports).or_default().push(slice);
    }
    let subsets = by_ports.into_values().map(|same| match same[..] {
        [only] => only.clone(),
        _ => Arc::new(Subset::merged(&same)),
    });
    subsets.collect()
}

/// The external name in wire form, unless it is an address, which no CNAME can name.
fn alias(text: &str) -> Option<Box<[u8]>> {
    let address = text.parse::<IpAddr>().is_ok();
    (!address).then(|| Name::from_text(text).ok())?.map(|name| name.wire().into())
}
