//! A Service port in one family, with all that a proxy needs to know.

use std::net::{IpAddr, SocketAddr};

use crate::objects::{Service, ServicePort};
use crate::{Choice, Endpoint, Family};

/// A Service port in one family, seen from a node.
#[derive(Debug, Clone)]
pub struct PortView<'a> {
    /// The Service.
    pub service: &'a Service,
    /// The port.
    pub port: &'a ServicePort,
    /// The family; all addresses are of it.
    pub family: Family,
    /// The cluster IP.
    pub cluster_ip: IpAddr,
    /// Which endpoints each client reaches.
    pub choice: Choice,
    /// Endpoints that still answer, whether or not new connections go to them, in order of address. Their
    /// connections are left alone (kube-proxy's conntrack clean-up).
    pub serving: Vec<SocketAddr>,
}

impl<'a> PortView<'a> {
    pub(crate) fn new(
        service: &'a Service,
        port: &'a ServicePort,
        cluster_ip: IpAddr,
        endpoints: Vec<Endpoint>,
        viewpoint: &crate::Viewpoint,
    ) -> Self {
        let serving =
            endpoints.iter().filter(|endpoint| endpoint.serving).map(|endpoint| endpoint.address).collect();
        let choice = Choice::new(service, endpoints, viewpoint);
        Self { service, port, family: Family::of(cluster_ip), cluster_ip, choice, serving }
    }

    /// External IPs and load balancer addresses of this family.
    pub fn external_ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let service = self.service;
        let addresses = service.external_ips.iter().chain(&service.load_balancer_ips).copied();
        addresses.filter(|address| Family::of(*address) == self.family)
    }
}
