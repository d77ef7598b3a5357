//! Walks packets through the rules to a proxy port, and from there to the endpoints behind it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use service::Family;
use service::objects::Protocol;

use super::compile::Rules;
use super::proxy_ports::{self, ProxyPort};
use crate::packet::{Branch, Fate, Packet, Tracer, Untraceable};
use crate::sight::{NodeFacts, Sight};
use crate::xtables::trace::Walker as Tables;

/// Rules, and the endpoints behind each proxy port.
#[derive(Debug)]
pub struct Walker<'a> {
    tables: Vec<(Family, Tables)>,
    behind: HashMap<(Family, Protocol, u16), (&'a ProxyPort, &'a [SocketAddr])>,
}

/// The endpoints behind each proxy port, in order of address.
pub type Endpoints = HashMap<ProxyPort, Vec<SocketAddr>>;

/// The endpoints that new connections through each proxy port of a sight are sent to.
pub fn endpoints(sight: &Sight<'_>) -> Endpoints {
    let mut endpoints = Endpoints::new();
    for view in sight.all_ports() {
        endpoints.extend(proxy_ports::proxy_ports(&view).map(|(proxy_port, list)| {
            let addresses = list.endpoints.iter().map(|endpoint| endpoint.address);
            (proxy_port, addresses.collect())
        }));
    }
    endpoints
}

impl<'a> Walker<'a> {
    /// Reads the rules once.
    pub fn new(rules: &'a Rules, endpoints: &'a Endpoints, node: &NodeFacts) -> Self {
        let mut node = node.clone();
        // Packets are redirected to the node even where it is not known by which address.
        node.addresses.extend([IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)]);
        let tables = rules.tables.iter().map(|(family, tables)| (*family, Tables::new(tables, &node)));
        let behind = rules.proxy_ports.iter().filter_map(|(proxy_port, target)| {
            Some((
                (proxy_port.family, proxy_port.protocol, target.port),
                (proxy_port, endpoints.get(proxy_port)?.as_slice()),
            ))
        });
        Self { tables: tables.collect(), behind: behind.collect() }
    }

    /// The ways on from a proxy port: one to each endpoint, as likely as the others. The proxy speaks with it by itself.
    fn enter(&self, packet: &Packet, branch: Branch) -> Vec<Branch> {
        let Fate::Endpoint { address, .. } = branch.fate else { return vec![branch] };
        let family = Family::of(address.ip());
        let Some((proxy_port, endpoints)) = self.behind.get(&(family, packet.protocol, address.port()))
        else {
            return vec![branch];
        };
        let step = format!(
            "the proxy at {address} takes turns among the {} endpoints of {} that serve {}",
            endpoints.len(),
            proxy_port.service,
            match proxy_port.scope {
                proxy_ports::Scope::Cluster => "the whole cluster",
                proxy_ports::Scope::Local => "from this node",
            }
        );
        let probability = branch.probability / endpoints.len() as f64;
        let to = |address: &SocketAddr| Branch {
            probability,
            fate: Fate::Endpoint { address: *address, masquerade: true },
            steps: branch.steps.iter().chain([&step]).cloned().collect(),
        };
        endpoints.iter().map(to).collect()
    }
}

impl Tracer for Walker<'_> {
    fn trace(&self, packet: &Packet) -> Result<Vec<Branch>, Untraceable> {
        let family = Family::of(packet.destination.ip());
        let Some((_, tables)) = self.tables.iter().find(|(other, _)| *other == family) else {
            return Ok(Vec::new());
        };
        let branches = tables.trace(packet)?;
        Ok(branches.into_iter().flat_map(|branch| self.enter(packet, branch)).collect())
    }
}
