//! What the names of one Service hold.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use service::objects::{ClusterIps, Service, ServiceType};

use super::{Few, Group, Key, Port};
use crate::wire::Name;

/// What the names of one Service hold, made once per change and only read by queries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Records {
    /// What the Service is looked up by.
    pub(crate) key: Key,
    /// What is behind the name.
    pub(crate) behind: Behind,
    /// IPv4 addresses of the Service's own name, each once.
    pub(crate) v4: Few<Ipv4Addr>,
    /// IPv6 addresses of the Service's own name, each once.
    pub(crate) v6: Few<Ipv6Addr>,
    /// Ports of the Service's own name; a headless Service has none, its endpoints do.
    pub(crate) ports: Arc<[Port]>,
    /// The ready endpoints, together with those that serve the same ports.
    pub(crate) groups: Box<[Arc<Group>]>,
}

/// What is behind the name of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// What a Service says of its names, without its endpoints.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Front {
    behind: Behind,
    addresses: Box<[IpAddr]>,
    ports: Arc<[Port]>,
}

/// What the records of Services depend on besides the Services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Naming {
    /// A Service without ready endpoints is no name.
    pub(crate) ignore_empty: bool,
}

impl Front {
    /// What a Service says; `ports` are its ports.
    pub(crate) fn of(service: &Service, ports: Arc<[Port]>) -> Self {
        let behind = match (service.kind, &service.cluster_ips) {
            (ServiceType::ExternalName, _) => {
                let name = service.external_name.as_deref().unwrap_or_default();
                alias(name).map_or(Behind::Nothing, Behind::Alias)
            }
            (_, ClusterIps::Addresses(_)) => Behind::ClusterIp,
            (_, ClusterIps::Headless) => Behind::Endpoints,
        };
        let own = if behind == Behind::ClusterIp { service.cluster_ips() } else { &[] };
        Self { behind, addresses: own.into(), ports }
    }

    /// Whether endpoints belong to it at all.
    fn has_endpoints(&self) -> bool {
        matches!(self.behind, Behind::ClusterIp | Behind::Endpoints)
    }
}

impl Records {
    /// The records of a Service with the endpoints of its slices.
    pub(crate) fn of<'a>(
        key: Key,
        front: &Front,
        slices: impl Iterator<Item = &'a Arc<Group>>,
        naming: Naming,
    ) -> Self {
        let groups = groups(slices.filter(|_| front.has_endpoints()));
        let behind = match (&front.behind, groups.is_empty()) {
            (Behind::Endpoints, true) => Behind::Nothing,
            (Behind::ClusterIp, true) if naming.ignore_empty => Behind::Nothing,
            (behind, _) => behind.clone(),
        };
        let of_endpoints = groups.iter().filter(|_| behind == Behind::Endpoints);
        let addresses = of_endpoints.flat_map(|group| group.hosts().map(|(_, address)| address));
        let addresses = addresses.chain(front.addresses.iter().copied());
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
        let own_ports = behind == Behind::ClusterIp;
        let ports = if own_ports { front.ports.clone() } else { Default::default() };
        Self { key, behind, v4: v4.into(), v6: v6.into(), ports, groups }
    }
}

/// The endpoints of all slices by their ports. One slice with its ports to itself is shared, not copied.
fn groups<'a>(slices: impl Iterator<Item = &'a Arc<Group>>) -> Box<[Arc<Group>]> {
    let mut by_ports = BTreeMap::<&[Port], Vec<&Arc<Group>>>::new();
    for slice in slices.filter(|slice| !slice.is_empty()) {
        by_ports.entry(&slice.ports).or_default().push(slice);
    }
    let groups = by_ports.into_values().map(|same| match same[..] {
        [only] => only.clone(),
        _ => Arc::new(Group::merged(&same)),
    });
    groups.collect()
}

/// The external name in wire form, unless it is an address, which no CNAME can name.
fn alias(text: &str) -> Option<Box<[u8]>> {
    let address = text.parse::<IpAddr>().is_ok();
    (!address).then(|| Name::from_text(text).ok())?.map(|name| name.wire().into())
}
