//! The records of one Service.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use service::objects::{ClusterIps, Service, ServiceType};

use super::{Key, OneOrMany, Port, Subset};
use crate::wire::Name;

/// The records of one Service, made when it changes and only read by queries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Records {
    /// The key of the Service in the table.
    pub(crate) key: Key,
    /// Where the addresses of the name come from.
    pub(crate) source: AddressSource,
    /// The IPv4 addresses of the name of the Service, each once.
    pub(crate) v4: OneOrMany<Ipv4Addr>,
    /// The IPv6 addresses of the name of the Service, each once.
    pub(crate) v6: OneOrMany<Ipv6Addr>,
    /// The ports of the Service; a headless Service has none, since its endpoints have them.
    pub(crate) ports: Arc<[Port]>,
    /// The ready endpoints, grouped by the ports that they serve.
    pub(crate) subsets: Box<[Arc<Subset>]>,
}

/// Where the addresses of the name of a Service come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AddressSource {
    /// Its ClusterIPs.
    ClusterIp,
    /// Its ready endpoints: it is headless.
    Endpoints,
    /// The name that it is an alias of (type ExternalName), in wire form.
    Alias(Box<[u8]>),
    /// Nothing, and so there is no such name: the external name is an address or no domain name, or no endpoint of the
    /// headless Service is ready.
    Nothing,
}

/// The part of the records of a Service that does not come from endpoints.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServiceSpec {
    source: AddressSource,
    addresses: Box<[IpAddr]>,
    ports: Arc<[Port]>,
}

/// Options of the directive `kubernetes` that change the records of Services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RecordOptions {
    /// Whether Services without ready endpoints have no name (`ignore empty_service`).
    pub(crate) ignore_empty: bool,
}

impl ServiceSpec {
    /// The part of the records that comes from a Service; `ports` are its ports.
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

    /// Whether the Service has endpoints at all.
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

/// Merges the endpoints of slices with the same ports. A slice whose ports no other has is shared, not copied.
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

/// The external name in wire form; `None` if it is an address, which is no target of a CNAME record, or no domain
/// name.
fn alias(text: &str) -> Option<Box<[u8]>> {
    let address = text.parse::<IpAddr>().is_ok();
    (!address).then(|| Name::from_text(text).ok())?.map(|name| name.wire().into())
}
