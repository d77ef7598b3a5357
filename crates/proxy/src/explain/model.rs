//! What should become of a packet by the model alone, without any rules.

mod virtual_server;

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use service::objects::{Balance, Protocol, SessionAffinity};
use service::{Client, Entrance, Family, List, Outcome, PortView};

use super::verdict::{Share, Verdict};
use crate::config::ModeName;
use crate::packet::Packet;
use crate::sight::{Interface, LocalPods, NodePortIps, Sight};

/// The addresses of all Services, to look packets up by.
#[derive(Debug)]
pub struct Model<'a> {
    sight: Sight<'a>,
    ports: Vec<PortView<'a>>,
    addresses: HashMap<(IpAddr, Protocol, u16), (usize, AddressKind)>,
    node_ports: HashMap<(Family, Protocol, u16), usize>,
    cluster_ips: HashSet<IpAddr>,
    /// External IPs and addresses of load balancers.
    outer_ips: HashSet<IpAddr>,
}

/// What should become of a packet, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// In one word.
    pub verdict: Verdict,
    /// The endpoints it may reach, in order of address.
    pub endpoints: Vec<Share>,
    /// Why.
    pub reasons: Vec<String>,
}

/// What is said of endpoints that are reached from themselves.
const ITSELF: &str = "an endpoint that meets itself sees the node's address";

fn kept_out(packet: &Packet) -> String {
    format!("{} is in none of loadBalancerSourceRanges", packet.source)
}

fn masquerade_words(masquerade: bool) -> String {
    match masquerade {
        true => "the source address is replaced by the node's, so that answers come back this way".to_owned(),
        false => "the source address is kept".to_owned(),
    }
}

/// Where a packet is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AddressKind {
    ClusterIp,
    ExternalIp,
    LoadBalancer,
    NodePort,
}

impl AddressKind {
    fn words(self) -> &'static str {
        match self {
            Self::ClusterIp => "the clusterIP",
            Self::ExternalIp => "an externalIP",
            Self::LoadBalancer => "a load balancer address",
            Self::NodePort => "a NodePort",
        }
    }

    fn entrance(self) -> Entrance {
        match self {
            Self::ClusterIp => Entrance::Internal,
            Self::ExternalIp | Self::LoadBalancer | Self::NodePort => Entrance::External,
        }
    }
}

impl<'a> Model<'a> {
    /// Notes the addresses of all Services. When several Services claim one, an allocated address goes first, then
    /// the lesser name.
    pub fn new(sight: Sight<'a>) -> Self {
        let ports = sight.all_ports();
        let mut model = Self {
            sight,
            ports: Vec::new(),
            addresses: HashMap::new(),
            node_ports: HashMap::new(),
            cluster_ips: HashSet::new(),
            outer_ips: HashSet::new(),
        };
        for (index, view) in ports.iter().enumerate() {
            let (protocol, port) = (view.port.protocol, view.port.port);
            model.cluster_ips.insert(view.cluster_ip);
            model
                .addresses
                .entry((view.cluster_ip, protocol, port))
                .or_insert((index, AddressKind::ClusterIp));
            if let Some(node_port) = view.port.node_port {
                model.node_ports.entry((view.family, protocol, node_port)).or_insert(index);
            }
        }
        for (index, view) in ports.iter().enumerate() {
            let (protocol, port) = (view.port.protocol, view.port.port);
            let external = view.external_ips().map(|address| (address, AddressKind::ExternalIp));
            let balanced = view.load_balancer_ips().map(|address| (address, AddressKind::LoadBalancer));
            for (address, kind) in external.chain(balanced) {
                model.outer_ips.insert(address);
                model.addresses.entry((address, protocol, port)).or_insert((index, kind));
            }
        }
        model.ports = ports;
        model
    }

    /// What should become of a packet.
    pub fn expect(&self, packet: &Packet) -> Expected {
        let Some((view, kind)) = self.service_port(packet) else { return self.no_service(packet) };
        let mut reasons = vec![format!(
            "{}/{} is {} of Service {}{}",
            packet.destination,
            packet.protocol,
            kind.words(),
            view.service.name(),
            match &*view.port.name {
                "" => String::new(),
                name => format!(", port {name}"),
            }
        )];
        let client = self.client(packet);
        reasons.push(format!("{} {}", packet.source, self.client_words(client, packet)));
        if self.sight.config.mode == ModeName::Ipvs {
            return self.by_virtual_server(view, kind, packet, reasons);
        }
        if kind == AddressKind::LoadBalancer && !self.allowed(view, packet) {
            reasons.push(kept_out(packet));
            return Expected { verdict: Verdict::Drop, endpoints: Vec::new(), reasons };
        }
        if self.sight.config.mode == ModeName::Userspace && packet.protocol == Protocol::Sctp {
            reasons.push("userspace mode has no SCTP".to_owned());
            return Expected { verdict: Verdict::Reject, endpoints: Vec::new(), reasons };
        }
        let answer = view.choice.answer(kind.entrance(), client);
        let list = match answer.outcome {
            Outcome::Serve(list) => list,
            Outcome::Reject => {
                reasons.push("the Service has no endpoints".to_owned());
                return Expected { verdict: Verdict::Reject, endpoints: Vec::new(), reasons };
            }
            Outcome::Drop => {
                let policy = if kind == AddressKind::ClusterIp { "internal" } else { "external" };
                reasons.push(format!(
                    "{policy}TrafficPolicy is Local and the Service has no endpoints on this node"
                ));
                return Expected { verdict: Verdict::Drop, endpoints: Vec::new(), reasons };
            }
        };
        reasons.push(self.list_words(view, kind, list, client));
        let masquerade = match kind.entrance() {
            Entrance::Internal => self.sight.config.masquerade_all || self.foreign(client, view.family),
            Entrance::External => answer.masquerade,
        } || self.sight.config.mode == ModeName::Userspace;
        reasons.push(masquerade_words(masquerade));
        let endpoints = self.shares(view, list, packet, masquerade);
        if !masquerade && endpoints.iter().any(|share| share.masquerade) {
            reasons.push(ITSELF.to_owned());
        }
        Expected { verdict: Verdict::Dnat, endpoints, reasons }
    }

    /// The Service port and the kind of address that a packet is sent to.
    fn service_port(&self, packet: &Packet) -> Option<(&PortView<'a>, AddressKind)> {
        let (address, port) = (packet.destination.ip(), packet.destination.port());
        if let Some((index, kind)) = self.addresses.get(&(address, packet.protocol, port)) {
            return Some((&self.ports[*index], *kind));
        }
        let family = Family::of(address);
        let open = match self.sight.node_port_ips(family) {
            NodePortIps::AnyLocal => self.sight.node.is_local(address) && !address.is_loopback(),
            NodePortIps::Only(addresses) => addresses.contains(&address),
        };
        let opens_localhost = match self.sight.config.node_port_addresses().names(address) {
            Some(named) => named && address == Ipv4Addr::LOCALHOST,
            None => self.sight.node_port_ips(family) == NodePortIps::AnyLocal,
        };
        let at_localhost = address.is_loopback()
            && (address.is_ipv4() || self.sight.config.mode == ModeName::Userspace)
            && self.sight.config.localhost_node_ports
            && opens_localhost
            && matches!(self.sight.config.mode, ModeName::Iptables | ModeName::Userspace);
        if !open && !at_localhost {
            return None;
        }
        let index = self.node_ports.get(&(family, packet.protocol, port))?;
        Some((&self.ports[*index], AddressKind::NodePort))
    }

    /// What becomes of packets to destinations that no Service has: kube-proxy's nftables mode rejects unknown ports of cluster IPs
    /// and drops what goes to cluster IPs that nobody has; ipvs mode rejects unknown ports of all addresses of
    /// Services; the other modes let all pass.
    fn no_service(&self, packet: &Packet) -> Expected {
        let address = packet.destination.ip();
        let mode = self.sight.config.mode;
        let strict = mode == ModeName::Nftables;
        if mode == ModeName::Ipvs && self.is_service_ip(address) {
            let reason = format!(
                "{address} is an address of a Service without a port {}/{}",
                packet.destination.port(),
                packet.protocol
            );
            return Expected { verdict: Verdict::Reject, endpoints: Vec::new(), reasons: vec![reason] };
        }
        let (verdict, reason) = if self.cluster_ips.contains(&address) {
            let verdict = if strict { Verdict::Reject } else { Verdict::Pass };
            (
                verdict,
                format!(
                    "{address} is a clusterIP whose Service has no port {}/{}",
                    packet.destination.port(),
                    packet.protocol
                ),
            )
        } else if self.sight.node.service_cidrs.iter().any(|range| range.contains(address)) {
            let verdict = if strict { Verdict::Drop } else { Verdict::Pass };
            (verdict, format!("{address} is in the range of cluster IPs, and no Service has it"))
        } else {
            (Verdict::Pass, format!("no Service is at {}/{}", packet.destination, packet.protocol))
        };
        Expected { verdict, endpoints: Vec::new(), reasons: vec![reason] }
    }

    fn client(&self, packet: &Packet) -> Client {
        let pod = match self.sight.local_pods(Family::of(packet.source)) {
            LocalPods::Unknown => false,
            LocalPods::From(ranges) => ranges.iter().any(|range| range.contains(packet.source)),
            LocalPods::Through(Interface::Named(name)) => packet.interface.as_deref() == Some(&name),
            LocalPods::Through(Interface::Prefixed(prefix)) => {
                packet.interface.as_deref().is_some_and(|interface| interface.starts_with(&prefix))
            }
        };
        match (pod, self.sight.node.is_local(packet.source)) {
            (true, _) => Client::Pod,
            (false, true) => Client::Node,
            (false, false) => Client::Outside,
        }
    }

    fn client_words(&self, client: Client, packet: &Packet) -> String {
        match (client, self.sight.local_pods(Family::of(packet.source))) {
            (Client::Pod, LocalPods::From(_)) => "is an address of pods".to_owned(),
            (Client::Pod, _) => "comes in from a pod of this node".to_owned(),
            (Client::Node, _) => "is this node itself".to_owned(),
            (Client::Outside, LocalPods::Unknown) => {
                "may be a pod or not: how to tell is not configured".to_owned()
            }
            (Client::Outside, _) => "is outside the cluster's pods".to_owned(),
        }
    }

    /// Whether cluster IP traffic of this client is masqueraded for coming from elsewhere.
    fn foreign(&self, client: Client, family: Family) -> bool {
        client != Client::Pod && self.sight.local_pods(family) != LocalPods::Unknown
    }

    /// Whether the load balancer's source ranges let a packet in. A load balancer address that is the packet's own
    /// source stands for the node.
    fn allowed(&self, view: &PortView<'_>, packet: &Packet) -> bool {
        let Some(ranges) = view.source_ranges() else { return true };
        let within = |address: IpAddr| ranges.iter().any(|range| range.contains(address));
        if self.sight.config.mode == ModeName::Ipvs && self.asks_itself(packet) {
            return self.sight.node.primary(view.family).is_some_and(within);
        }
        within(packet.source)
            || (packet.source == packet.destination.ip()
                && self.sight.node.primary(view.family).is_some_and(within))
    }

    fn list_words(&self, view: &PortView<'_>, kind: AddressKind, list: &List, client: Client) -> String {
        let local = std::ptr::eq(list, &view.choice.local);
        let place = match (local, kind) {
            (true, AddressKind::ClusterIp) => " on this node (internalTrafficPolicy Local)",
            (true, _) => " on this node (externalTrafficPolicy Local)",
            (false, AddressKind::ClusterIp) => "",
            (false, _) if view.external_local() && client != Client::Outside => {
                " of the whole cluster (externalTrafficPolicy Local concerns only clients outside)"
            }
            (false, _) => "",
        };
        let affinity = match view.service.session_affinity {
            SessionAffinity::None => String::new(),
            SessionAffinity::ClientIp(time) => {
                format!(
                    "; the first connection decides for {} seconds (sessionAffinity ClientIP)",
                    time.as_secs()
                )
            }
        };
        format!("{} of {}{place}{affinity}", list.endpoints.len(), list.rule)
    }

    /// Each endpoint's share by its weight. Shares that a hash decides are as likely as slots are many.
    fn shares(&self, view: &PortView<'_>, list: &List, packet: &Packet, masquerade: bool) -> Vec<Share> {
        let weighted = self.sight.config.mode == ModeName::Nftables;
        let idle = list.endpoints.iter().all(|endpoint| endpoint.weight == 0);
        let weight = |weight: u8| if weighted && !idle { f64::from(weight) } else { 1.0 };
        let sum: f64 = list.endpoints.iter().map(|endpoint| weight(endpoint.weight)).sum();
        let mut shares = Vec::new();
        for endpoint in list.endpoints.iter().filter(|endpoint| weight(endpoint.weight) > 0.0) {
            let here = endpoint.node.as_deref().is_none_or(|node| node == &*self.sight.node.viewpoint.node);
            // Only nftables mode looks for itself among the endpoints of this node alone.
            let itself = endpoint.address.ip() == packet.source && (here || !weighted);
            shares.push(Share {
                address: endpoint.address,
                probability: weight(endpoint.weight) / sum,
                masquerade: masquerade || itself,
            });
        }
        shares.sort_by_key(|share| share.address);
        match view.service.balance {
            Balance::Random | Balance::SourceHash | Balance::Maglev | Balance::LeastConnections => shares,
        }
    }
}
