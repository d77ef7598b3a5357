//! One Service port: its virtual servers, and the entries by which rules know it.

use std::net::{IpAddr, SocketAddr};

use nfnetlink::ipset::Entry;
use nfnetlink::ipvs::{Front, Sharing};
use service::objects::{Protocol, Scheduler, SessionAffinity};
use service::{Endpoint, PortView};

use super::fragment::{Fragment, Server};
use super::sets::Set;
use super::settings::Settings;
use crate::conntrack::stale;

/// Sets of NodePorts by protocol: of all, and of those with external traffic policy Local.
const NODE_PORTS: [(Protocol, Set, Set); 3] = [
    (Protocol::Tcp, Set::NodePortTcp, Set::NodePortLocalTcp),
    (Protocol::Udp, Set::NodePortUdp, Set::NodePortLocalUdp),
    (Protocol::Sctp, Set::NodePortSctp, Set::NodePortLocalSctp),
];

/// A Service port being compiled.
struct Port<'a> {
    view: &'a PortView<'a>,
    settings: &'a Settings,
    into: &'a mut Fragment,
}

/// Adds what a Service port asks for.
pub(super) fn compile(view: &PortView<'_>, settings: &Settings, into: &mut Fragment) {
    into.flows.extend(stale::Front::of(view));
    let mut port = Port { view, settings, into };
    port.hairpins();
    port.cluster_ip();
    port.external_ips();
    port.load_balancer_ips();
    port.node_port();
    port.health_check_node_port();
}

impl Port<'_> {
    fn protocol(&self) -> u8 {
        self.view.port.protocol.number()
    }

    fn insert(&mut self, set: Set, entry: Entry) {
        self.into.entries.insert((set, entry));
    }

    fn front(&self, address: IpAddr) -> Entry {
        Entry::IpPort(address, self.protocol(), self.view.port.port)
    }

    /// An endpoint of this node that meets itself would answer itself, past the translation.
    fn hairpins(&mut self) {
        let protocol = self.protocol();
        for endpoint in &self.view.choice.local.endpoints {
            let (address, port) = (endpoint.address.ip(), endpoint.address.port());
            self.into.entries.insert((Set::LoopBack, Entry::IpPortIp(address, protocol, port, address)));
        }
    }

    fn cluster_ip(&mut self) {
        let address = self.view.cluster_ip;
        self.insert(Set::ClusterIp, self.front(address));
        self.into.addresses.insert(address);
        self.serve(SocketAddr::new(address, self.view.port.port), self.view.service.internal_traffic_local);
    }

    fn external_ips(&mut self) {
        let set = match self.view.external_local() {
            true => Set::ExternalIpLocal,
            false => Set::ExternalIp,
        };
        for address in self.view.external_ips() {
            self.insert(set, self.front(address));
            self.serve_outside(address);
        }
    }

    fn load_balancer_ips(&mut self) {
        for address in self.view.load_balancer_ips() {
            let entry = self.front(address);
            self.insert(Set::LoadBalancer, entry);
            if self.view.external_local() {
                self.insert(Set::LoadBalancerLocal, entry);
            }
            self.source_ranges(address);
            self.serve_outside(address);
        }
    }

    fn source_ranges(&mut self, address: IpAddr) {
        let Some(ranges) = self.view.source_ranges() else { return };
        let (protocol, port) = (self.protocol(), self.view.port.port);
        self.insert(Set::LoadBalancerFw, self.front(address));
        for range in &ranges {
            let entry = Entry::IpPortNet(address, protocol, port, range.address(), range.prefix());
            self.insert(Set::LoadBalancerSourceCidr, entry);
        }
        match ranges.iter().any(|range| range.contains(self.settings.common.node_ip)) {
            // The node asks itself from the address that it asks.
            true => {
                let entry = Entry::IpPortIp(address, protocol, port, address);
                self.insert(Set::LoadBalancerSourceIp, entry);
            }
            // What the node sends itself is translated before the chain of source ranges.
            false => {
                let address = SocketAddr::new(address, port);
                self.into.closed.insert(Front { address, protocol });
            }
        }
    }

    fn node_port(&mut self) {
        let Some(port) = self.view.port.node_port else { return };
        let protocol = self.view.port.protocol;
        let entries: Vec<_> = match protocol {
            Protocol::Sctp => {
                let front = |address: &IpAddr| Entry::IpPort(*address, protocol.number(), port);
                self.settings.node_port_ips.iter().map(front).collect()
            }
            Protocol::Tcp | Protocol::Udp if self.settings.node_port_ips.is_empty() => Vec::new(),
            Protocol::Tcp | Protocol::Udp => vec![Entry::Port(port)],
        };
        for (_, all, local) in NODE_PORTS.iter().filter(|(other, ..)| *other == protocol) {
            for entry in &entries {
                self.insert(*all, *entry);
                if self.view.external_local() {
                    self.insert(*local, *entry);
                }
            }
        }
        for address in &self.settings.node_port_ips {
            self.serve(SocketAddr::new(*address, port), self.view.external_local());
        }
    }

    fn health_check_node_port(&mut self) {
        if let Some(port) = self.view.service.health_check_node_port {
            self.insert(Set::HealthCheckNodePort, Entry::Port(port));
        }
    }

    /// A virtual server at an address that the node may have by itself.
    fn serve_outside(&mut self, address: IpAddr) {
        if !self.settings.own.contains(&address) {
            self.into.addresses.insert(address);
        }
        self.serve(SocketAddr::new(address, self.view.port.port), self.view.external_local());
    }

    /// A virtual server. One server cannot tell clients apart: with policy Local all of them get the endpoints of
    /// this node, and those of the cluster if there is none here (kube-proxy issue 97081).
    fn serve(&mut self, address: SocketAddr, local: bool) {
        let choice = &self.view.choice;
        let endpoints: &[Endpoint] = match local && !choice.local.endpoints.is_empty() {
            true => &choice.local.endpoints,
            false if self.view.uses_cluster_endpoints() => &choice.cluster.endpoints,
            false => &[],
        };
        let real = endpoints.iter().map(|endpoint| (endpoint.address, endpoint.weight.into())).collect();
        let server = Server { sharing: self.sharing(), real };
        self.into.servers.entry(Front { address, protocol: self.protocol() }).or_insert(server);
    }

    fn sharing(&self) -> Sharing {
        let scheduler = self.view.service.scheduler.unwrap_or(self.settings.scheduler);
        Sharing {
            scheduler: scheduler.name().to_owned(),
            persistence: match self.view.service.session_affinity {
                SessionAffinity::ClientIp(timeout) => Some(timeout),
                SessionAffinity::None => None,
            },
            // Connections of one client would all go to one endpoint otherwise.
            hash_port: scheduler == Scheduler::MaglevHashing,
        }
    }
}
