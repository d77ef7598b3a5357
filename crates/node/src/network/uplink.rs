//! The link by which other machines reach this node: whether it is up, and what the kernel forgets when it was down.
//!
//! When a link goes down the kernel drops the routes that lead over it, and its IPv6 addresses, without a word; when
//! it is up again only those routes are back that follow from its addresses. What was there is put back. What someone
//! takes away while the link is up stays away, except for what no node can do without: its own address, and a way to
//! everywhere (without one even the address of a Service is "unreachable" before any rule could translate it).

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, channel::mpsc::UnboundedReceiver};
use rtnetlink::{
    Handle, MulticastGroup, RouteMessageBuilder,
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope},
        link::{LinkAttribute, LinkFlags, LinkMessage},
        route::{RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteType},
    },
    sys::SocketAddr,
};
use tokio::{sync::watch, time::sleep};

use super::host_routes;
use crate::{Error, health::Health};

/// What is listened to.
const GROUPS: [MulticastGroup; 7] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv6Rule,
];
/// Changes come in groups, such as the end of a route and its successor: so long is waited for the rest of one.
const SETTLE: Duration = Duration::from_millis(50);
/// After an error it is tried again in this time.
const AGAIN: Duration = Duration::from_millis(200);
/// The kernel's own table: it fills it by itself (ip-route(8)).
const LOCAL_TABLE: u32 = 255;

/// An address with the length of its network's prefix.
type Address = (IpAddr, u8);
/// What tells a route from others: where it leads, and in which table it is.
type Place = (IpAddr, u8, u32);

/// A link as the kernel shows it.
#[derive(Clone, Debug, PartialEq)]
struct Link {
    index: u32,
    name: String,
    up: bool,
    carrier: bool,
    /// How often it has lost its carrier.
    downs: u32,
}

impl Link {
    /// What is wrong with it.
    fn problem(&self) -> Option<String> {
        match (self.up, self.carrier) {
            (false, _) => Some(format!("network link {} is down", self.name)),
            (true, false) => Some(format!("network link {} has no carrier", self.name)),
            (true, true) => None,
        }
    }
}

impl From<&LinkMessage> for Link {
    fn from(message: &LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            up: message.header.flags.contains(LinkFlags::Up),
            carrier: message.header.flags.contains(LinkFlags::LowerUp),
            downs: 0,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::CarrierDownCount(downs) => link.downs = *downs,
                _ => {}
            }
        }
        link
    }
}

/// What is on a link.
#[derive(Clone, Debug, Default, PartialEq)]
struct Holdings {
    addresses: Vec<Address>,
    routes: BTreeMap<Place, RouteMessage>,
}

impl Holdings {
    /// What there should be, when `now` is there and `self` was: all of both if the link has been down meanwhile, else
    /// what is there and what the node with address `own` cannot do without.
    fn wanted(&self, now: &Self, was_down: bool, own: IpAddr) -> Self {
        let same_address = |address: &Address| now.addresses.iter().any(|(other, _)| *other == address.0);
        let everywhere = |(to, prefix, _): &Place| {
            let others = now.routes.keys();
            let is_other = |(other, length, _): &Place| *length == 0 && other.is_ipv4() == to.is_ipv4();
            *prefix == 0 && !others.into_iter().any(is_other)
        };
        let mut wanted = now.clone();
        let addresses = self.addresses.iter().filter(|address| !same_address(address));
        wanted.addresses.extend(addresses.filter(|(address, _)| was_down || *address == own));
        for (place, route) in &self.routes {
            if was_down || everywhere(place) {
                wanted.routes.entry(*place).or_insert_with(|| route.clone());
            }
        }
        wanted
    }
}

/// Keeps watch over the link that has the address `own`, for ever. Whenever something has changed in the kernel's
/// network, and after what was missing is back, `changed` is told. What the kernel does not tell now is asked for again
/// a moment later: it breaks off a listing of what changes meanwhile, for example.
pub(crate) async fn follow(own: IpAddr, health: Arc<watch::Sender<Health>>, changed: watch::Sender<()>) {
    let mut known = None;
    loop {
        if let Err(error) = follow_until_error(own, &mut known, &health, &changed).await {
            tracing::warn!("{error}; trying again");
        }
        sleep(AGAIN).await;
    }
}

async fn follow_until_error(
    own: IpAddr,
    known: &mut Option<(Link, Holdings)>,
    health: &watch::Sender<Health>,
    changed: &watch::Sender<()>,
) -> Result<(), Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Network(format!("cannot watch the network: {error}"));
    let (connection, handle, mut messages) =
        rtnetlink::new_multicast_connection(&GROUPS).map_err(|error| failed(&error))?;
    tokio::spawn(connection);
    loop {
        let links = links(&handle).await.map_err(|error| failed(&error))?;
        let addresses = addresses(&handle).await.map_err(|error| failed(&error))?;
        let index = addresses.iter().find(|(_, (address, _))| *address == own).map(|(index, _)| *index);
        let by_address = links.iter().find(|link| Some(link.index) == index);
        let by_index =
            || known.as_ref().and_then(|(old, _)| links.iter().find(|link| link.index == old.index));
        let problem = match by_address.or_else(by_index) {
            Some(link) => {
                let on_link = addresses.iter().filter(|(index, _)| *index == link.index);
                let now = Holdings {
                    addresses: on_link.map(|(_, address)| *address).collect(),
                    routes: routes(&handle, link.index).await.map_err(|error| failed(&error))?,
                };
                // What the kernel has told until here was before `now`.
                let told_down = drain(&mut messages, link.index);
                let wanted = match &*known {
                    Some((old, before)) => {
                        let was_down = told_down || !old.up || !link.up || old.downs != link.downs;
                        before.wanted(&now, was_down, own)
                    }
                    None => now.clone(),
                };
                let complete = !link.up || restore(&handle, link, &wanted, &now).await;
                // As long as something is owed, it is as if the link were down.
                *known = Some((Link { up: link.up && complete, ..link.clone() }, wanted));
                link.problem()
            }
            // Nobody knows what an address that is on no interface of ours depends on.
            None => known.as_ref().map(|(old, _)| format!("network link {} is gone", old.name)),
        };
        health.send_if_modified(|health| {
            let changed = health.link != problem;
            if changed {
                tracing::warn!("{}", problem.as_deref().unwrap_or("the network link is up again"));
            }
            health.link = problem;
            changed
        });
        changed.send_replace(());
        if messages.next().await.is_none() {
            return Err(failed(&"the kernel's news have ended"));
        }
        sleep(SETTLE).await;
        if known.as_ref().is_some_and(|(link, _)| drain(&mut messages, link.index))
            && let Some((link, _)) = known
        {
            link.up = false;
        }
    }
}

/// Takes all news that have come; whether some said that the link was down.
fn drain(
    messages: &mut UnboundedReceiver<(NetlinkMessage<RouteNetlinkMessage>, SocketAddr)>,
    index: u32,
) -> bool {
    let mut down = false;
    while let Ok((message, _)) = messages.try_recv() {
        down |= match message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                link.header.index == index && !link.header.flags.contains(LinkFlags::Up)
            }
            NetlinkPayload::InnerMessage(_) => false,
            // The kernel could not tell everything.
            _ => true,
        };
    }
    down
}

/// Puts back what is wanted and not there; whether all of it could be. What the kernel refuses is tried again with its
/// next news.
async fn restore(handle: &Handle, link: &Link, wanted: &Holdings, now: &Holdings) -> bool {
    let mut complete = true;
    for (address, prefix) in wanted.addresses.iter().filter(|address| !now.addresses.contains(address)) {
        match handle.address().add(link.index, *address, *prefix).execute().await {
            Ok(()) => tracing::info!("put the address {address}/{prefix} of {} back", link.name),
            Err(error) => {
                complete = false;
                tracing::warn!("cannot put the address {address}/{prefix} of {} back: {error}", link.name);
            }
        }
    }
    let missing = wanted.routes.iter().filter(|(place, _)| !now.routes.contains_key(place));
    let mut missing: Vec<(&Place, &RouteMessage)> = missing.collect();
    let has_gateway = |route: &RouteMessage| {
        route.attributes.iter().any(|attribute| matches!(attribute, RouteAttribute::Gateway(_)))
    };
    // A gateway must be on a link before anything can lead by way of it.
    missing.sort_by_key(|(_, route)| has_gateway(route));
    for ((to, prefix, _), route) in missing {
        let mut route = route.clone();
        route.attributes.push(RouteAttribute::Oif(link.index));
        match handle.route().add(route).execute().await {
            Ok(()) => tracing::info!("put the route to {to}/{prefix} by {} back", link.name),
            Err(error) => {
                complete = false;
                tracing::warn!("cannot put the route to {to}/{prefix} by {} back: {error}", link.name);
            }
        }
    }
    complete
}

async fn links(handle: &Handle) -> Result<Vec<Link>, rtnetlink::Error> {
    handle.link().get().execute().map_ok(|message| Link::from(&message)).try_collect().await
}

/// The addresses that were given to interfaces for good, with the interface's index.
async fn addresses(handle: &Handle) -> Result<Vec<(u32, Address)>, rtnetlink::Error> {
    let all: Vec<AddressMessage> = handle.address().get().execute().try_collect().await?;
    let lasting = all.iter().filter(|message| {
        message.header.flags.contains(AddressHeaderFlags::Permanent)
            && message.header.scope != AddressScope::Link
    });
    let address = |message: &AddressMessage| {
        let find = |pick: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(pick);
        // Where the two differ, as on a point-to-point link, the other is the peer's.
        let local = find(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
        let address = local.or_else(|| {
            find(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            })
        });
        Some((message.header.index, (address?, message.header.prefix_len)))
    };
    Ok(lasting.filter_map(address).collect())
}

/// The routes over an interface that somebody has set: not the kernel, not a router's advertisement, not we.
async fn routes(handle: &Handle, index: u32) -> Result<BTreeMap<Place, RouteMessage>, rtnetlink::Error> {
    let families =
        [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()];
    let mut found = BTreeMap::new();
    for family in families {
        let all: Vec<RouteMessage> = handle.route().get(family).execute().try_collect().await?;
        for route in all {
            if let Some((place, route)) = settable(&route, index) {
                found.entry(place).or_insert(route);
            }
        }
    }
    Ok(found)
}

/// A route in the form in which it can be set again, without its interface; `None` for what we leave alone.
fn settable(route: &RouteMessage, index: u32) -> Option<(Place, RouteMessage)> {
    let header = &route.header;
    let by_others =
        !matches!(header.protocol, RouteProtocol::Kernel | RouteProtocol::Ra | RouteProtocol::IcmpRedirect)
            && header.protocol != host_routes::PROTOCOL;
    let over = route.attributes.contains(&RouteAttribute::Oif(index));
    if !by_others || !over || header.kind != RouteType::Unicast || header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let kept = route.attributes.iter().filter(|attribute| {
        use RouteAttribute::*;
        matches!(
            attribute,
            Destination(_)
                | Gateway(_)
                | Via(_)
                | PrefSource(_)
                | Priority(_)
                | Metrics(_)
                | Table(_)
                | Preference(_)
        )
    });
    let header = RouteHeader { flags: header.flags & RouteFlags::Onlink, ..header.clone() };
    let mut plain = RouteMessage::default();
    plain.header = header;
    plain.attributes = kept.cloned().collect();
    let place = place(&plain)?;
    (place.2 != LOCAL_TABLE).then_some((place, plain))
}

fn place(route: &RouteMessage) -> Option<Place> {
    use rtnetlink::packet_route::{AddressFamily, route::RouteAddress};
    let unspecified: IpAddr = match route.header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut place = (unspecified, route.header.destination_prefix_length, u32::from(route.header.table));
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(to)) => place.0 = (*to).into(),
            RouteAttribute::Destination(RouteAddress::Inet6(to)) => place.0 = (*to).into(),
            RouteAttribute::Table(table) => place.2 = *table,
            _ => {}
        }
    }
    Some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn route(to: [u8; 4], prefix: u8, via: u8) -> (Place, RouteMessage) {
        let builder = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(to.into(), prefix);
        let route = builder.gateway([192, 0, 2, via].into()).output_interface(7).build();
        settable(&route, 7).unwrap()
    }

    fn holdings(addresses: &[Address], routes: &[(Place, RouteMessage)]) -> Holdings {
        Holdings { addresses: addresses.to_vec(), routes: routes.iter().cloned().collect() }
    }

    #[test]
    fn what_a_link_has_lost_while_it_was_down_is_put_back() {
        let other = "2001:db8::1".parse().unwrap();
        let before = holdings(
            &[(OWN, 24), (other, 64)],
            &[route([0, 0, 0, 0], 0, 254), route([198, 51, 100, 0], 24, 253)],
        );
        let after = holdings(&[(OWN, 24)], &[]);
        assert_eq!(before.wanted(&after, true, OWN), before);
        let renewed = holdings(&[(OWN, 24)], &[route([0, 0, 0, 0], 0, 1)]);
        let wanted = before.wanted(&renewed, true, OWN);
        assert_eq!(wanted.routes.len(), 2);
        assert!(
            renewed.routes.iter().all(|(place, route)| wanted.routes[place] == *route),
            "the newer one counts"
        );
    }

    #[test]
    fn what_is_taken_away_while_the_link_is_up_stays_away_but_for_the_nodes_address_and_the_way_to_everywhere()
     {
        let other = "192.0.2.9".parse().unwrap();
        let before = holdings(
            &[(OWN, 24), (other, 24)],
            &[route([0, 0, 0, 0], 0, 254), route([198, 51, 100, 0], 24, 253)],
        );
        let wanted = before.wanted(&Holdings::default(), false, OWN);
        assert_eq!(wanted, holdings(&[(OWN, 24)], &[route([0, 0, 0, 0], 0, 254)]));
        let replaced = holdings(&[(OWN, 16)], &[route([0, 0, 0, 0], 0, 1)]);
        assert_eq!(before.wanted(&replaced, false, OWN), replaced);
    }

    #[test]
    fn routes_of_the_kernel_and_our_own_are_left_alone() {
        let of = |protocol, table| {
            let mut route =
                RouteMessageBuilder::<Ipv4Addr>::new().output_interface(7).protocol(protocol).build();
            route.header.table = table;
            settable(&route, 7).is_some()
        };
        assert!(
            of(RouteProtocol::Static, 254) && of(RouteProtocol::Boot, 100) && of(RouteProtocol::Dhcp, 254)
        );
        assert!(
            !of(RouteProtocol::Kernel, 254)
                && !of(host_routes::PROTOCOL, 254)
                && !of(RouteProtocol::Static, 255)
        );
        let elsewhere = RouteMessageBuilder::<Ipv4Addr>::new().output_interface(8).build();
        assert_eq!(settable(&elsewhere, 7), None);
    }

    #[test]
    fn a_link_works_when_it_is_up_and_has_a_carrier() {
        let link = |up, carrier| Link { index: 7, name: "eth0".into(), up, carrier, downs: 0 }.problem();
        assert_eq!(link(true, true), None);
        assert_eq!(link(false, false).as_deref(), Some("network link eth0 is down"));
        assert_eq!(link(true, false).as_deref(), Some("network link eth0 has no carrier"));
    }
}
