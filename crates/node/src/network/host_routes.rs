//! Routes to the pods of other nodes: each node's podCIDR by way of its InternalIP ("host-gw").

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use rtnetlink::{
    Handle, RouteMessageBuilder,
    packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol},
};
use service::Cidr;

use super::driver::PodNetwork;
use super::nodes::NodeNetwork;
use crate::{Error, network::cni};

/// The routing protocol number that marks our routes (rtnetlink(7); numbers above 4 are the users').
pub(crate) const PROTOCOL: RouteProtocol = RouteProtocol::Other(0x70);

/// The podCIDR of a node and where its pods are reached.
type Hop = (Cidr, IpAddr);

/// Our routes in the network namespace in which they were opened.
pub(crate) struct HostRoutes {
    handle: Handle,
}

impl HostRoutes {
    /// Changes nothing yet.
    ///
    /// # Errors
    /// There is no netlink.
    pub(crate) fn open() -> Result<Self, Error> {
        let handle = cni::netlink();
        let handle = handle.map_err(|error| Error::Network(format!("cannot manage routes: {error}")))?;
        Ok(Self { handle })
    }
}

impl PodNetwork for HostRoutes {
    /// What the kernel has is read each time: an earlier process may have left routes, and a link that was down has lost
    /// them.
    fn follow<'a>(&'a mut self, others: Vec<&'a NodeNetwork>) -> BoxFuture<'a, ()> {
        let follow = async move {
            match own_routes(&self.handle).await {
                Ok(installed) => {
                    let installed = installed.iter().filter_map(hop_of).collect();
                    apply(&self.handle, installed, others.into_iter().flat_map(hops).collect()).await;
                }
                Err(error) => tracing::warn!("cannot list the routes to pods of other nodes: {error}"),
            }
        };
        follow.boxed()
    }
}

/// Where the pods of a node are reached: each podCIDR by the first address of its family.
fn hops(node: &NodeNetwork) -> impl Iterator<Item = Hop> {
    node.pod_cidrs.iter().filter_map(|cidr| {
        let mut addresses = node.addresses.iter().copied();
        Some((*cidr, addresses.find(|address| address.is_ipv4() == cidr.address().is_ipv4())?))
    })
}

/// Changes the kernel's routes from `installed` to `wanted`.
async fn apply(handle: &Handle, installed: BTreeMap<Cidr, IpAddr>, wanted: BTreeMap<Cidr, IpAddr>) {
    for (&cidr, &via) in installed.iter().filter(|(cidr, _)| !wanted.contains_key(cidr)) {
        let Some(route) = route((cidr, via)) else { continue };
        if let Err(error) = handle.route().del(route).execute().await {
            tracing::warn!("cannot remove the route to pods {cidr}: {error}");
        }
    }
    for (cidr, via) in wanted.into_iter().filter(|(cidr, via)| installed.get(cidr) != Some(via)) {
        let Some(route) = route((cidr, via)) else { continue };
        if let Err(error) = handle.route().add(route).replace().execute().await {
            tracing::warn!(
                "cannot add the route to pods {cidr} via {via}: {error}; is that address on a network that this \
                 node is connected to?"
            );
        }
    }
}

fn route((cidr, via): Hop) -> Option<RouteMessage> {
    let builder = RouteMessageBuilder::<IpAddr>::new();
    let builder = builder.destination_prefix(cidr.address(), cidr.prefix()).ok()?.gateway(via).ok()?;
    Some(builder.protocol(PROTOCOL).build())
}

/// Removes every route of ours from the current namespace.
pub(crate) async fn remove_all(handle: &Handle) -> Result<(), rtnetlink::Error> {
    for route in own_routes(handle).await? {
        handle.route().del(route).execute().await?;
    }
    Ok(())
}

async fn own_routes(handle: &Handle) -> Result<Vec<RouteMessage>, rtnetlink::Error> {
    let mut own = Vec::new();
    let families =
        [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()];
    for family in families {
        let routes: Vec<RouteMessage> = handle.route().get(family).execute().try_collect().await?;
        own.extend(routes.into_iter().filter(|route| route.header.protocol == PROTOCOL));
    }
    Ok(own)
}

fn hop_of(route: &RouteMessage) -> Option<Hop> {
    let address = |address: &RouteAddress| match address {
        RouteAddress::Inet(ip) => Some(IpAddr::from(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::from(*ip)),
        _ => None,
    };
    let find = |pick: fn(&RouteAttribute) -> Option<&RouteAddress>| {
        route.attributes.iter().find_map(pick).and_then(address)
    };
    let to = find(|attribute| match attribute {
        RouteAttribute::Destination(to) => Some(to),
        _ => None,
    })?;
    let via = find(|attribute| match attribute {
        RouteAttribute::Gateway(via) => Some(via),
        _ => None,
    })?;
    Some((format!("{to}/{}", route.header.destination_prefix_length).parse().ok()?, via))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_goes_to_the_pod_cidr_by_way_of_the_address_of_its_family() {
        let node = NodeNetwork {
            pod_cidrs: vec!["10.244.2.0/24".parse().unwrap(), "fd00:2::/64".parse().unwrap()],
            addresses: vec!["192.0.2.2".parse().unwrap(), "2001:db8::2".parse().unwrap()],
        };
        let hops: Vec<String> = hops(&node).map(|(cidr, via)| format!("{cidr} via {via}")).collect();
        assert_eq!(hops, ["10.244.2.0/24 via 192.0.2.2", "fd00:2::/64 via 2001:db8::2"]);
    }

    #[test]
    fn a_route_left_by_an_earlier_process_is_recognised() {
        let hop = ("10.244.2.0/24".parse().unwrap(), IpAddr::from([192, 0, 2, 2]));
        assert_eq!(hop_of(&route(hop).unwrap()), Some(hop));
    }

    #[test]
    fn a_node_without_pod_cidr_or_address_needs_no_route() {
        let none = NodeNetwork { pod_cidrs: vec![], addresses: vec!["192.0.2.2".parse().unwrap()] };
        assert_eq!(hops(&none).count(), 0);
        let none = NodeNetwork { pod_cidrs: vec!["10.244.2.0/24".parse().unwrap()], addresses: vec![] };
        assert_eq!(hops(&none).count(), 0);
    }
}
