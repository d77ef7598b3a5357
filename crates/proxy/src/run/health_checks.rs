//! `healthCheckNodePort`: a small server for each Service that load balancers ask whether this node has endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use service::objects::Service;
use service::{Family, ServiceName};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;

use super::reporter::Reporter;
use crate::health::Health;
use crate::mode::Touched;
use crate::sight::{NodePortIps, Sight};
use pages::Reply;

/// How many clients may wait to be let in.
const BACKLOG: u32 = 64;
/// How long to wait before an address that is taken is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The servers of all Services.
pub(super) struct HealthChecks {
    servers: BTreeMap<ServiceName, Server>,
    health: Arc<Health>,
    reporter: Reporter,
}

/// The server of one Service; it ends when dropped, and has let go of its addresses after `tasks.shutdown()`.
struct Server {
    addresses: Vec<SocketAddr>,
    /// Local endpoints that are ready.
    endpoints: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
}

impl HealthChecks {
    pub(super) fn new(health: Arc<Health>, reporter: Reporter) -> Self {
        Self { servers: BTreeMap::new(), health, reporter }
    }

    /// Tells of failures through another reporter from now on.
    pub(super) fn report_to(&mut self, reporter: Reporter) {
        self.reporter = reporter;
    }

    /// Starts, stops and informs the servers of the Services that were touched. Those that stop let go of their
    /// addresses before others start, as these may have the same port.
    pub(super) async fn follow(&mut self, sight: &Sight<'_>, touched: &Touched<'_>) {
        let names = touched.names(sight);
        let everything = matches!(touched, Touched::Everything);
        let wanted: BTreeMap<&ServiceName, (&Service, Vec<SocketAddr>)> = names
            .iter()
            .filter_map(|name| {
                let service = sight.cluster.service(name).filter(|service| service.proxied())?;
                let port = service.health_check_node_port?;
                Some((name, (service, addresses(sight, port))))
            })
            .collect();
        let ends = |name: &ServiceName, server: &mut Server| {
            let stays = wanted.get(name).is_some_and(|(_, addresses)| *addresses == server.addresses);
            (everything || names.contains(name)) && !stays
        };
        for (_, mut server) in self.servers.extract_if(.., ends) {
            server.tasks.shutdown().await;
        }
        for (name, (service, addresses)) in wanted {
            if !self.servers.contains_key(name) {
                let server = self.start(service, addresses);
                self.servers.insert(name.clone(), server);
            }
            self.servers[name].endpoints.store(local_ready(sight, name), Ordering::Relaxed);
        }
    }

    fn start(&self, service: &Service, addresses: Vec<SocketAddr>) -> Server {
        let endpoints = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for address in addresses.iter().copied() {
            let opened = listen(address);
            if let Err(error) = &opened {
                let note =
                    format!("cannot listen on {address} for health checks: {error}; it is tried again");
                tracing::error!(service = %service.name(), "{note}");
                self.reporter.event::<Service>(&service.metadata, "FailedToStartServiceHealthcheck", note);
            }
            let answers = serve(opened.ok(), address, service.name(), endpoints.clone(), self.health.clone());
            tasks.spawn(answers);
        }
        Server { addresses, endpoints, tasks }
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

/// Answers at an address, from when it is free if it could not be opened.
async fn serve(
    mut opened: Option<TcpListener>,
    address: SocketAddr,
    name: ServiceName,
    endpoints: Arc<AtomicUsize>,
    health: Arc<Health>,
) {
    let listener = loop {
        if let Some(listener) = opened {
            break listener;
        }
        tokio::time::sleep(RETRY).await;
        opened = listen(address).ok();
    };
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
