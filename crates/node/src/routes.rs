//! Routes to the pods of other nodes: each node's podCIDR by way of its InternalIP ("host-gw").

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use futures::{StreamExt, TryStreamExt, pin_mut};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use rtnetlink::{
    Handle, RouteMessageBuilder,
    packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol},
};

use crate::{Error, cidr::Cidr, cni};

/// The routing protocol number that marks our routes (rtnetlink(7); numbers above 4 are the users').
const PROTOCOL: RouteProtocol = RouteProtocol::Other(0x70);

/// The podCIDR of a node and where its pods are reached.
type Hop = (Cidr, IpAddr);

/// Keeps the routes of the current namespace in step with the Node objects, except for `own_name`'s. Begins
/// with the routes that an earlier process left, so that nothing is interrupted. Ends only with an error.
pub(crate) async fn keep(client: Client, own_name: &str) -> Result<(), Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Network(format!("cannot manage routes: {error}"));
    let handle = cni::netlink().map_err(|error| failed(&error))?;
    let left = own_routes(&handle).await.map_err(|error| failed(&error))?;
    let mut installed: BTreeMap<Cidr, IpAddr> = left.iter().filter_map(hop_of).collect();
    let mut hops: BTreeMap<String, Hop> = BTreeMap::new();
    let mut listing = true;
    let nodes = watcher(Api::<Node>::all(client), watcher::Config::default()).default_backoff();
    pin_mut!(nodes);
    while let Some(event) = nodes.next().await {
        match event {
            Ok(watcher::Event::Init) => {
                listing = true;
                hops.clear();
            }
            Ok(watcher::Event::InitDone) => listing = false,
            Ok(watcher::Event::InitApply(node) | watcher::Event::Apply(node)) => {
                match hop(&node, own_name) {
                    Some(hop) => hops.insert(node.name_any(), hop),
                    None => hops.remove(&node.name_any()),
                };
            }
            Ok(watcher::Event::Delete(node)) => {
                hops.remove(&node.name_any());
            }
            Err(error) => tracing::debug!("the watch of nodes was interrupted: {error}"),
        }
        if !listing {
            installed = apply(&handle, installed, hops.values().copied().collect()).await;
        }
    }
    Ok(())
}

/// Where the pods of `node` are reached; `None` for ourselves and for nodes that have no podCIDR yet.
fn hop(node: &Node, own_name: &str) -> Option<Hop> {
    if node.name_any() == own_name {
        return None;
    }
    let cidr: Cidr = node.spec.as_ref()?.pod_cidr.as_ref()?.parse().ok()?;
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let addresses = addresses.iter().filter(|address| address.type_ == "InternalIP");
    let mut addresses = addresses.filter_map(|address| address.address.parse::<IpAddr>().ok());
    addresses.find(|address| address.is_ipv4() == cidr.address().is_ipv4()).map(|address| (cidr, address))
}

/// Changes the kernel's routes from `installed` to `wanted`; returns what is installed then.
async fn apply(
    handle: &Handle,
    installed: BTreeMap<Cidr, IpAddr>,
    wanted: BTreeMap<Cidr, IpAddr>,
) -> BTreeMap<Cidr, IpAddr> {
    let mut now = installed.clone();
    for (cidr, via) in installed.into_iter().filter(|(cidr, _)| !wanted.contains_key(cidr)) {
        now.remove(&cidr);
        let Some(route) = route((cidr, via)) else { continue };
        if let Err(error) = handle.route().del(route).execute().await {
            tracing::warn!("cannot remove the route to pods {cidr}: {error}");
        }
    }
    for (cidr, via) in wanted.into_iter().filter(|(cidr, via)| now.get(cidr) != Some(via)).collect::<Vec<_>>()
    {
        let Some(route) = route((cidr, via)) else { continue };
        match handle.route().add(route).replace().execute().await {
            Ok(()) => {
                now.insert(cidr, via);
            }
            Err(error) => tracing::warn!(
                "cannot add the route to pods {cidr} via {via}: {error}; is that address on a network that this \
                 node is connected to?"
            ),
        }
    }
    now
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
    use serde_json::json;

    use super::*;

    fn node(name: &str, cidr: Option<&str>) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"podCIDR": cidr},
            "status": {"addresses": [
                {"type": "Hostname", "address": name},
                {"type": "InternalIP", "address": "192.0.2.2"},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn a_route_goes_to_the_pod_cidr_by_way_of_the_internal_ip() {
        let hop = hop(&node("n2", Some("10.244.2.0/24")), "n1").unwrap();
        assert_eq!((hop.0.to_string(), hop.1.to_string()), ("10.244.2.0/24".into(), "192.0.2.2".into()));
    }

    #[test]
    fn a_route_left_by_an_earlier_process_is_recognised() {
        let hop = ("10.244.2.0/24".parse().unwrap(), IpAddr::from([192, 0, 2, 2]));
        assert_eq!(hop_of(&route(hop).unwrap()), Some(hop));
    }

    #[test]
    fn ourselves_and_nodes_without_pod_cidr_need_no_route() {
        assert!(hop(&node("n1", Some("10.244.1.0/24")), "n1").is_none());
        assert!(hop(&node("n2", None), "n1").is_none());
    }
}
