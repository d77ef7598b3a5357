//! A Service port in one family, with all that a proxy needs to know.

use std::net::{IpAddr, SocketAddr};

use crate::objects::{ExternalTrafficPolicy, Service, ServicePort};
use crate::{Choice, Cidr, Endpoint, Family};

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

    /// External IPs of this family.
    pub fn external_ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.of_family(&self.service.external_ips)
    }

    /// Load balancer addresses of this family.
    pub fn load_balancer_ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.of_family(&self.service.load_balancer_ips)
    }

    fn of_family<'b>(&'b self, addresses: &'b [IpAddr]) -> impl Iterator<Item = IpAddr> + 'b {
        addresses.iter().copied().filter(|address| Family::of(*address) == self.family)
    }

    /// Who may come in at the load balancer addresses; `None` for everybody. A range of all addresses is no
    /// restriction, and neither are ranges of the other family alone.
    pub fn source_ranges(&self) -> Option<Vec<Cidr>> {
        let ranges = self.service.source_ranges.iter().copied();
        let ranges: Vec<_> = ranges.filter(|range| Family::of(range.address()) == self.family).collect();
        let everybody = ranges.is_empty() || ranges.iter().any(|range| range.prefix() == 0);
        (!everybody).then_some(ranges)
    }

    /// Whether clients outside the cluster have an address to come to.
    pub fn externally_accessible(&self) -> bool {
        self.port.node_port.is_some()
            || self.external_ips().next().is_some()
            || self.load_balancer_ips().next().is_some()
    }

    /// Whether any client is sent to endpoints of the whole cluster. External traffic policy Local still needs
    /// them, for clients inside.
    pub fn uses_cluster_endpoints(&self) -> bool {
        !self.service.internal_traffic_local || self.externally_accessible()
    }

    /// Whether any client is sent to endpoints of this node alone.
    pub fn uses_local_endpoints(&self) -> bool {
        self.service.internal_traffic_local || (self.external_local() && self.externally_accessible())
    }

    /// Whether external traffic policy Local is in force.
    pub fn external_local(&self) -> bool {
        self.service.external_traffic_policy == ExternalTrafficPolicy::Local
    }
}
