//! Which endpoints the chains of a Service port lead to, in kube-proxy's order.

use std::net::SocketAddr;

use service::objects::{EndpointSlice, ServicePort};
use service::{Family, PortView};

/// The endpoints of a Service port by the chain that leads to them.
#[derive(Debug, Default)]
pub(crate) struct Endpoints {
    /// Of the chain for traffic that may go anywhere; empty if nobody uses it.
    pub(crate) cluster: Vec<SocketAddr>,
    /// Of the chain for traffic that stays on the node.
    pub(crate) local: Vec<SocketAddr>,
    /// Each of them once.
    pub(crate) all: Vec<SocketAddr>,
}

impl Endpoints {
    /// What this node's rules need.
    pub(crate) fn of(view: &PortView<'_>) -> Self {
        let list = |used: bool, list: &service::List| match used {
            true => in_order(list.endpoints.iter().map(|endpoint| endpoint.address).collect()),
            false => Vec::new(),
        };
        let cluster = list(view.uses_cluster_endpoints(), &view.choice.cluster);
        let local = list(view.uses_local_endpoints(), &view.choice.local);
        let all = match local.is_empty() {
            true => cluster.clone(),
            false => in_order(cluster.iter().chain(&local).copied().collect()),
        };
        Self { cluster, local, all }
    }
}

/// Order of the text `address:port`, each once.
fn in_order(mut endpoints: Vec<SocketAddr>) -> Vec<SocketAddr> {
    endpoints.sort_by_cached_key(ToString::to_string);
    endpoints.dedup();
    endpoints
}

/// How many endpoints a Service port has in one family, whatever their state.
pub(crate) fn count<'a>(
    slices: impl Iterator<Item = &'a EndpointSlice>,
    port: &ServicePort,
    family: Family,
) -> usize {
    let mut found = Vec::new();
    for slice in slices.filter(|slice| slice.family == Some(family) && !slice.headless) {
        for target in slice.ports.iter().filter(|p| p.name == port.name && p.protocol == port.protocol) {
            found.extend(slice.endpoints.iter().map(|endpoint| (endpoint.address, target.port)));
        }
    }
    found.sort_unstable();
    found.dedup();
    found.len()
}
