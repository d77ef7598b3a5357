//! Queries to the cluster's DNS stay on the node while a server listens there.
//!
//! A server of the node binds the Service's own address, by a socket with `IP_TRANSPARENT`, and a local route brings
//! packets to it. A packet of a pod that
//! finds such a socket is left out of connection tracking and so of all Service rules, whatever the mode; one that
//! finds none goes the way of every Service, to a server elsewhere. The kernel looks for the socket with each
//! packet, so nothing has to notice that a server ended: the next query is another server's.
//!
//! That is what the NodeLocal DNSCache add-on (KEP-1024) does with a dummy interface and twelve iptables rules for
//! each address, and what ends all lookups of a node when that server fails.

use std::net::IpAddr;

use futures::TryStreamExt;
use nfnetlink::expr::{MetaKey, PayloadBase, Register};
use nfnetlink::{
    Batch, Chain, ChainType, Expr, Family, Hook, Monitor, Rule, Socket, Table, Transaction, priority,
};
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType,
};

use crate::error::Error;
use crate::watcher::Watcher;

/// The port of DNS.
const PORT: u16 = 53;
/// TCP and UDP.
const PROTOCOLS: [u8; 2] = [6, 17];
const KEY: Register = Register(0);
const INCOMING: &str = "prerouting";
const OUTGOING: &str = "output";
/// The kernel's table of local routes (`RT_TABLE_LOCAL`).
const LOCAL_TABLE: u32 = 255;
/// The loopback interface is the first one of every network namespace.
const LOOPBACK: u32 = 1;
/// Marks our routes as ours among the local ones; a number that nobody else is known to use.
const OURS: RouteProtocol = RouteProtocol::Other(153);

/// The table with these rules.
fn table() -> Table {
    let comment = "queries that stay on this node, by portolan proxy".to_owned();
    Table { comment, ..Table::new(Family::Inet, "portolan-dns") }
}

/// Has queries to these addresses answered on this node while a server listens there; with none, no longer.
///
/// # Errors
/// [`Error::LocalDns`] says what the kernel lacks or refused. Queries then go the way of every Service.
pub async fn keep(addresses: &[IpAddr]) -> Result<(), Error> {
    let mut socket = Socket::open().map_err(|error| Error::LocalDns(error.to_string()))?;
    keep_by(&mut socket, addresses).await
}

async fn keep_by(socket: &mut Socket, addresses: &[IpAddr]) -> Result<(), Error> {
    let mut batch = Batch::new();
    batch.add_table(&table());
    batch.delete_table(&table());
    if !addresses.is_empty() {
        write(addresses, &mut batch);
    }
    socket.commit(batch).map_err(|error| Error::LocalDns(error.to_string()))?;
    routes(addresses).await.map_err(|error| Error::LocalDns(error.to_string()))
}

/// Does what [`keep`] does, and again when others have changed the rules.
#[derive(Debug)]
pub(crate) struct Keeper {
    addresses: Vec<IpAddr>,
    socket: Option<Socket>,
    watcher: Watcher,
}

impl Keeper {
    /// Has queries to these addresses answered on this node. What cannot be is logged: queries then go the way of every
    /// Service.
    pub(crate) async fn start(addresses: &[IpAddr]) -> Self {
        let socket = Socket::open().ok();
        let port = socket.as_ref().filter(|_| !addresses.is_empty()).and_then(|socket| socket.port().ok());
        let monitor = port.and_then(|port| Monitor::open(&table(), &[port]).ok());
        let mut keeper = Self { addresses: addresses.to_vec(), socket, watcher: Watcher::new(monitor) };
        keeper.keep().await;
        keeper
    }

    /// Waits until somebody else changed the rules; for ever if that cannot be heard of.
    pub(crate) async fn disturbed(&mut self) {
        if let Err(error) = self.watcher.disturbed().await {
            tracing::warn!(%error, "changes of the rules for local DNS by others cannot be heard of");
            self.watcher = Watcher::new(None);
            std::future::pending::<()>().await;
        }
    }

    /// Writes the rules again.
    pub(crate) async fn keep(&mut self) {
        let kept = match &mut self.socket {
            Some(socket) => keep_by(socket, &self.addresses).await,
            None => keep(&self.addresses).await,
        };
        match kept {
            Ok(()) => {}
            Err(error) if self.addresses.is_empty() => tracing::debug!("{error}"),
            Err(error) => tracing::warn!("{error}"),
        }
    }
}

fn write(addresses: &[IpAddr], transaction: &mut impl Transaction) {
    let table = table();
    transaction.add_table(&table);
    for (name, hook) in [(INCOMING, Hook::Prerouting), (OUTGOING, Hook::Output)] {
        transaction.add_chain(&table, &Chain::base(name, ChainType::Filter, hook, priority::RAW));
    }
    for address in addresses {
        for protocol in PROTOCOLS {
            let mut incoming = packet(*address, Side::Destination, protocol);
            // By this the server is told from others that listen at all addresses of the node.
            incoming.extend([
                Expr::SocketTransparent { to: KEY },
                Expr::Compare { from: KEY, equal: true, value: vec![1] },
                Expr::NoTrack,
            ]);
            let mut outgoing = packet(*address, Side::Source, protocol);
            outgoing.push(Expr::NoTrack);
            transaction.add_rule(&table, &Rule::new(INCOMING, incoming));
            transaction.add_rule(&table, &Rule::new(OUTGOING, outgoing));
        }
    }
}

/// Which end of a packet is the server.
#[derive(Clone, Copy)]
enum Side {
    Source,
    Destination,
}

/// The rule goes on for packets from or to port 53 of an address.
fn packet(address: IpAddr, side: Side, protocol: u8) -> Vec<Expr> {
    let (family, offsets, bytes) = match address {
        IpAddr::V4(v4) => (Family::Ip, [12, 16], v4.octets().to_vec()),
        IpAddr::V6(v6) => (Family::Ip6, [8, 24], v6.octets().to_vec()),
    };
    let equal = |value: Vec<u8>| Expr::Compare { from: KEY, equal: true, value };
    let load = |base, offset, length: usize| Expr::Payload { base, offset, length: length as u32, to: KEY };
    vec![
        Expr::Meta { key: MetaKey::NfProto, to: KEY },
        equal(vec![family.number()]),
        load(PayloadBase::Network, offsets[side as usize], bytes.len()),
        equal(bytes),
        Expr::Meta { key: MetaKey::L4Proto, to: KEY },
        equal(vec![protocol]),
        load(PayloadBase::Transport, 2 * side as u32, 2),
        equal(PORT.to_be_bytes().to_vec()),
    ]
}

/// Makes these addresses local, and those that were made so before no longer.
async fn routes(addresses: &[IpAddr]) -> Result<(), rtnetlink::Error> {
    let (connection, handle, _) =
        rtnetlink::new_connection().map_err(|error| rtnetlink::Error::InvalidNla(error.to_string()))?;
    let connection = tokio::spawn(connection);
    let mut held = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut all = RouteMessage::default();
        all.header.address_family = family;
        let found: Vec<_> = handle.route().get(all).execute().try_collect().await?;
        held.extend(found.into_iter().filter(|route| route.header.protocol == OURS));
    }
    let destination = |route: &RouteMessage| {
        route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(v4)) => Some(IpAddr::V4(*v4)),
            RouteAttribute::Destination(RouteAddress::Inet6(v6)) => Some(IpAddr::V6(*v6)),
            _ => None,
        })
    };
    let known: Vec<_> = held.iter().filter_map(destination).collect();
    for address in addresses.iter().filter(|address| !known.contains(address)) {
        handle.route().add(local(*address)).execute().await?;
    }
    for route in held {
        if destination(&route).is_some_and(|address| !addresses.contains(&address)) {
            handle.route().del(route).execute().await?;
        }
    }
    connection.abort();
    Ok(())
}

/// The route that makes an address local.
fn local(address: IpAddr) -> RouteMessage {
    let mut route = match address {
        IpAddr::V4(v4) => RouteMessageBuilder::<std::net::Ipv4Addr>::new().destination_prefix(v4, 32).build(),
        IpAddr::V6(v6) => {
            RouteMessageBuilder::<std::net::Ipv6Addr>::new().destination_prefix(v6, 128).build()
        }
    };
    route.header.table = LOCAL_TABLE as u8;
    route.header.kind = RouteType::Local;
    route.header.scope = RouteScope::Host;
    route.header.protocol = OURS;
    route.attributes.push(RouteAttribute::Table(LOCAL_TABLE));
    route.attributes.push(RouteAttribute::Oif(LOOPBACK));
    route
}

#[cfg(test)]
mod tests {
    use nfnetlink::Ruleset;

    use super::*;

    #[test]
    fn packets_that_find_a_server_are_not_tracked_and_neither_are_its_replies() {
        let mut ruleset = Ruleset::new();
        write(&["10.96.0.10".parse().unwrap(), "fd00::a".parse().unwrap()], &mut ruleset);
        let text = ruleset.to_string();
        for line in [
            "type filter hook prerouting priority raw; policy accept;",
            "ip daddr 10.96.0.10 udp dport 53 socket transparent 1 notrack",
            "ip daddr 10.96.0.10 tcp dport 53 socket transparent 1 notrack",
            "ip saddr 10.96.0.10 udp sport 53 notrack",
            "ip6 daddr fd00::a udp dport 53 socket transparent 1 notrack",
            "ip6 saddr fd00::a tcp sport 53 notrack",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
