//! `healthCheckNodePort`: a small server for each Service that load balancers ask whether this node has endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use service::objects::Service;
use service::{Family, ServiceName};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

use super::reporter::Reporter;
use crate::health::Health;
use crate::mode::Touched;
use crate::sight::{NodePortIps, Sight};
use pages::Reply;

/// How many clients may wait to be let in.
const BACKLOG: u32 = 64;

/// The servers of all Services.
pub(super) struct HealthChecks {
    servers: BTreeMap<ServiceName, Server>,
    health: Arc<Health>,
    reporter: Reporter,
}

/// The server of one Service; it ends when dropped.
struct Server {
    port: u16,
    addresses: Vec<SocketAddr>,
    /// Local endpoints that are ready.
    endpoints: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl HealthChecks {
    pub(super) fn new(health: Arc<Health>, reporter: Reporter) -> Self {
        Self { servers: BTreeMap::new(), health, reporter }
    }

    /// Tells of failures through another reporter from now on.
    pub(super) fn report_to(&mut self, reporter: Reporter) {
        self.reporter = reporter;
    }

    /// Starts, stops and informs the servers of the Services that were touched.
    pub(super) async fn follow(&mut self, sight: &Sight<'_>, touched: &Touched<'_>) {
        if matches!(touched, Touched::Everything) {
            let known: BTreeSet<_> = sight.cluster.names().collect();
            self.servers.retain(|name, _| known.contains(name));
        }
        for name in touched.names(sight) {
            let service = sight.cluster.service(&name).filter(|service| service.proxied());
            let port = service.and_then(|service| service.health_check_node_port);
            let (Some(service), Some(port)) = (service, port) else {
                self.servers.remove(&name);
                continue;
            };
            let addresses = addresses(sight, port);
            let same = |server: &Server| {
                server.port == port && server.addresses == addresses && !server.tasks.is_empty()
            };
            if !self.servers.get(&name).is_some_and(same) {
                // The old one lets go of the port first.
                self.servers.remove(&name);
                let server = self.start(service, port, addresses).await;
                self.servers.insert(name.clone(), server);
            }
            if let Some(server) = self.servers.get(&name) {
                server.endpoints.store(local_ready(sight, &name), Ordering::Relaxed);
            }
        }
    }

    async fn start(&self, service: &Service, port: u16, addresses: Vec<SocketAddr>) -> Server {
        let endpoints = Arc::new(AtomicUsize::new(0));
        let mut tasks = Vec::new();
        for address in &addresses {
            match listen(*address) {
                Ok(listener) => tasks.push(tokio::spawn(serve(
                    listener,
                    service.name(),
                    endpoints.clone(),
                    self.health.clone(),
                ))),
                Err(error) => {
                    let note = format!("cannot listen on {address} for health checks: {error}");
                    tracing::error!(service = %service.name(), "{note}");
                    self.reporter.event::<Service>(
                        &service.metadata,
                        "FailedToStartServiceHealthcheck",
                        note,
                    );
                }
            }
        }
        Server { port, addresses, endpoints, tasks }
    }
}

/// Distinct addresses of endpoints on this node that are ready, in any family.
fn local_ready(sight: &Sight<'_>, name: &ServiceName) -> usize {
    let here = Some(&sight.node.viewpoint.node);
    let slices = sight.cluster.slices(name).filter(|slice| !slice.headless);
    let endpoints = slices.flat_map(|slice| &slice.endpoints);
    let ready = endpoints.filter(|endpoint| endpoint.ready && endpoint.node.as_ref() == here);
    ready.map(|endpoint| endpoint.address).collect::<BTreeSet<IpAddr>>().len()
}

fn addresses(sight: &Sight<'_>, port: u16) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for family in Family::ALL {
        match (sight.node_port_ips(family), family) {
            (NodePortIps::AnyLocal, Family::V4) => addresses.push(IpAddr::from(Ipv4Addr::UNSPECIFIED)),
            (NodePortIps::AnyLocal, Family::V6) => addresses.push(IpAddr::from(Ipv6Addr::UNSPECIFIED)),
            (NodePortIps::Only(ips), _) => addresses.extend(ips),
        }
    }
    addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect()
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            // The family beside it has a listener of its own.
            rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
            socket
        }
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn serve(listener: TcpListener, name: ServiceName, endpoints: Arc<AtomicUsize>, health: Arc<Health>) {
    pages::serve(listener, move |_| {
        let count = endpoints.load(Ordering::Relaxed);
        let reply = reply(&name, count, health.healthy());
        async move { reply }
    })
    .await;
}

/// The answer with its body as kube-proxy lays it out, which some load balancers read by lines.
fn reply(name: &ServiceName, count: usize, healthy: bool) -> Reply {
    let body = format!(
        "{{\n\t\"service\": {{\n\t\t\"namespace\": \"{}\",\n\t\t\"name\": \"{}\"\n\t}},\n\t\"localEndpoints\": {count},\n\t\"serviceProxyHealthy\": {healthy}\n}}",
        name.namespace, name.name
    );
    let mut reply = Reply::json(if count > 0 && healthy { 200 } else { 503 }, body);
    reply.headers.push(("x-load-balancing-endpoint-weight", count.to_string()));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_answers_well_while_it_has_endpoints_and_current_rules() {
        let name = ServiceName::new("default", "web");
        assert_eq!(
            [(2, true), (0, true), (2, false)].map(|(count, healthy)| reply(&name, count, healthy).code),
            [200, 503, 503]
        );
        let body: serde_json::Value = serde_json::from_slice(&reply(&name, 2, true).body).unwrap();
        assert_eq!(body["service"]["name"], "web");
        assert_eq!(
            (body["localEndpoints"].as_u64(), body["serviceProxyHealthy"].as_bool()),
            (Some(2), Some(true))
        );
    }
}
