//! Services.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::metadata::{Metadata, RawMetadata};
use super::problem::Problems;
use super::{Balance, Object, Scheduler, raw};
use crate::{Cidr, ServiceName};

/// Label on a Service that another proxy than the cluster's own implements (KEP-2447).
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";

/// What a Service asks for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "RawService")]
pub struct Service {
    /// Name and version.
    pub metadata: Metadata,
    /// `spec.type`.
    pub kind: ServiceType,
    /// `spec.clusterIP` and `spec.clusterIPs`.
    pub cluster_ips: ClusterIps,
    /// `spec.externalName`, the target of the CNAME of a Service of type ExternalName.
    pub external_name: Option<Box<str>>,
    /// `spec.ports`; those with an impossible port or protocol are left out.
    pub ports: Vec<ServicePort>,
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// `status.loadBalancer.ingress` addresses that the proxy answers for (`ipMode` is not `Proxy`, KEP-1860).
    pub load_balancer_ips: Vec<IpAddr>,
    /// `spec.loadBalancerSourceRanges`: who may come in at the load balancer's addresses; empty for everybody.
    pub source_ranges: Vec<Cidr>,
    /// `spec.externalTrafficPolicy`; it is `Cluster` for a Service that nobody outside can reach by its type.
    pub external_traffic_policy: ExternalTrafficPolicy,
    /// `spec.healthCheckNodePort`, where a load balancer asks a node whether it has endpoints of its own. Only
    /// with type LoadBalancer and external traffic policy Local.
    pub health_check_node_port: Option<u16>,
    /// Whether `spec.internalTrafficPolicy` is `Local` (KEP-2086).
    pub internal_traffic_local: bool,
    /// `spec.sessionAffinity`.
    pub session_affinity: SessionAffinity,
    /// `spec.publishNotReadyAddresses`.
    pub publish_not_ready_addresses: bool,
    /// Whether the label `service.kubernetes.io/service-proxy-name` gives the Service to another proxy.
    pub other_proxy: bool,
    /// The annotation `portolan.dev/balance`: how an endpoint is chosen.
    pub balance: Balance,
    /// The annotation `portolan.dev/scheduler`: the scheduler of its virtual servers in ipvs mode.
    pub scheduler: Option<Scheduler>,
    /// What was left out because it cannot be meant.
    pub problems: Problems,
}

/// `spec.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServiceType {
    /// Reachable inside the cluster.
    ClusterIp,
    /// Reachable on a port of every node.
    NodePort,
    /// Reachable at addresses that a load balancer announces.
    LoadBalancer,
    /// A name for something elsewhere.
    ExternalName,
}

/// The cluster addresses of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterIps {
    /// `None`: the name resolves to the endpoints, the proxy has nothing to do.
    Headless,
    /// At most one per family; empty while none is allocated.
    Addresses(Vec<IpAddr>),
}

/// `spec.externalTrafficPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExternalTrafficPolicy {
    /// Any endpoint; the client's address is hidden.
    Cluster,
    /// Endpoints on the node that was reached; the client's address is kept.
    Local,
}

/// `spec.sessionAffinity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionAffinity {
    /// Each connection is balanced by itself.
    None,
    /// Connections of a client address stay with an endpoint for this long after the last one began.
    ClientIp(Duration),
}

/// One port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServicePort {
    /// `name`, empty if the only port has none.
    pub name: Arc<str>,
    /// `protocol`.
    pub protocol: Protocol,
    /// `port`, where clients connect.
    pub port: u16,
    /// `nodePort`, if the port is open on nodes.
    pub node_port: Option<u16>,
}

/// `protocol` of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The IP protocol number (IANA).
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// The protocol Kubernetes names so; no name means TCP.
    pub(crate) fn named(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("" | "TCP") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some("SCTP") => Some(Self::Sctp),
            Some(_) => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

impl Service {
    /// Namespace and name.
    pub fn name(&self) -> ServiceName {
        ServiceName { namespace: self.metadata.namespace.clone(), name: self.metadata.name.clone() }
    }

    /// The cluster addresses, none for a headless Service.
    pub fn cluster_ips(&self) -> &[IpAddr] {
        match &self.cluster_ips {
            ClusterIps::Headless => &[],
            ClusterIps::Addresses(addresses) => addresses,
        }
    }

    /// Whether a proxy has to do anything for it: it has a cluster address, is no alias, and no other proxy
    /// has it.
    pub fn proxied(&self) -> bool {
        !self.other_proxy && self.kind != ServiceType::ExternalName && !self.cluster_ips().is_empty()
    }
}

impl Object for Service {
    const KIND: &'static str = "Service";
    const GROUP: &'static str = "";
    const VERSION: &'static str = "v1";
    const PLURAL: &'static str = "services";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn unreadable(metadata: Metadata, why: &str) -> Option<Self> {
        Some(Self { metadata, problems: Problems::unreadable(why), ..RawService::default().into() })
    }
}

#[derive(Deserialize, Default)]
struct RawService {
    metadata: RawMetadata,
    #[serde(default, deserialize_with = "raw::nullable")]
    spec: RawSpec,
    #[serde(default, deserialize_with = "raw::nullable")]
    status: RawStatus,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RawSpec {
    r#type: Option<String>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs", default, deserialize_with = "raw::nullable")]
    cluster_ips: Vec<String>,
    external_name: Option<Box<str>>,
    #[serde(default, deserialize_with = "raw::nullable")]
    ports: Vec<RawPort>,
    #[serde(rename = "externalIPs", default, deserialize_with = "raw::nullable")]
    external_ips: Vec<String>,
    external_traffic_policy: Option<String>,
    internal_traffic_policy: Option<String>,
    session_affinity: Option<String>,
    #[serde(default, deserialize_with = "raw::nullable")]
    session_affinity_config: RawAffinityConfig,
    #[serde(default, deserialize_with = "raw::nullable")]
    publish_not_ready_addresses: bool,
    #[serde(default, deserialize_with = "raw::nullable")]
    load_balancer_source_ranges: Vec<String>,
    #[serde(default, deserialize_with = "raw::nullable")]
    health_check_node_port: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPort {
    name: Option<String>,
    protocol: Option<String>,
    #[serde(default, deserialize_with = "raw::nullable")]
    port: i64,
    #[serde(default, deserialize_with = "raw::nullable")]
    node_port: i64,
}

#[derive(Deserialize, Default)]
struct RawAffinityConfig {
    #[serde(rename = "clientIP", default, deserialize_with = "raw::nullable")]
    client_ip: RawClientIp,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RawClientIp {
    timeout_seconds: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RawStatus {
    #[serde(default, deserialize_with = "raw::nullable")]
    load_balancer: RawLoadBalancer,
}

#[derive(Deserialize, Default)]
struct RawLoadBalancer {
    #[serde(default, deserialize_with = "raw::nullable")]
    ingress: Vec<RawIngress>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawIngress {
    ip: Option<String>,
    ip_mode: Option<String>,
}

/// Default of `clientIP.timeoutSeconds`: three hours (Service API).
const AFFINITY_SECONDS: u64 = 10_800;

impl From<RawService> for Service {
    fn from(raw: RawService) -> Self {
        let RawService { metadata, spec, status } = raw;
        let mut problems = Problems::default();
        let cluster_ips = match spec.cluster_ip.as_deref() {
            Some("None") => ClusterIps::Headless,
            // Old servers and hand-written manifests give only the singular.
            _ if spec.cluster_ips.is_empty() => {
                ClusterIps::Addresses(problems.addresses("spec.clusterIP", &spec.cluster_ip))
            }
            _ => ClusterIps::Addresses(problems.addresses("spec.clusterIPs", &spec.cluster_ips)),
        };
        let virtual_addresses = status
            .load_balancer
            .ingress
            .iter()
            .filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"))
            .filter_map(|ingress| ingress.ip.as_ref());
        let kind = match spec.r#type.as_deref() {
            Some("NodePort") => ServiceType::NodePort,
            Some("LoadBalancer") => ServiceType::LoadBalancer,
            Some("ExternalName") => ServiceType::ExternalName,
            _ => ServiceType::ClusterIp,
        };
        let for_outside = match kind {
            ServiceType::NodePort | ServiceType::LoadBalancer => true,
            ServiceType::ClusterIp => !spec.external_ips.is_empty(),
            ServiceType::ExternalName => false,
        };
        let external_traffic_policy = match spec.external_traffic_policy.as_deref() {
            Some("Local") if for_outside => ExternalTrafficPolicy::Local,
            _ => ExternalTrafficPolicy::Cluster,
        };
        let needs_health_check =
            kind == ServiceType::LoadBalancer && external_traffic_policy == ExternalTrafficPolicy::Local;
        let timeout = spec.session_affinity_config.client_ip.timeout_seconds;
        let timeout = timeout.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
        Self {
            kind,
            cluster_ips,
            external_name: spec.external_name,
            ports: ports(spec.ports, &mut problems),
            external_ips: problems.addresses("spec.externalIPs", &spec.external_ips),
            load_balancer_ips: problems.addresses("status.loadBalancer.ingress", virtual_addresses),
            source_ranges: problems
                .ranges("spec.loadBalancerSourceRanges", &spec.load_balancer_source_ranges),
            external_traffic_policy,
            health_check_node_port: raw::port(spec.health_check_node_port).filter(|_| needs_health_check),
            internal_traffic_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            session_affinity: match spec.session_affinity.as_deref() {
                Some("ClientIP") => {
                    SessionAffinity::ClientIp(Duration::from_secs(timeout.unwrap_or(AFFINITY_SECONDS)))
                }
                _ => SessionAffinity::None,
            },
            publish_not_ready_addresses: spec.publish_not_ready_addresses,
            other_proxy: metadata.labels.contains_key(PROXY_NAME),
            balance: Balance::read(&metadata.annotations, &mut problems),
            scheduler: Scheduler::read(&metadata.annotations, &mut problems),
            metadata: metadata.into(),
            problems,
        }
    }
}

/// Ports that can be meant, each name and protocol once.
fn ports(raw: Vec<RawPort>, problems: &mut Problems) -> Vec<ServicePort> {
    let mut ports: Vec<ServicePort> = Vec::with_capacity(raw.len());
    // A Service may have a port for each number there is.
    let mut taken = HashSet::with_capacity(raw.len());
    for (index, raw) in raw.into_iter().enumerate() {
        let at = |field: &str| format!("spec.ports[{index}].{field}");
        let Some(protocol) = Protocol::named(raw.protocol.as_deref()) else {
            problems.note(at("protocol"), raw.protocol.unwrap_or_default(), "is no protocol of Services");
            continue;
        };
        let Some(port) = raw::port(raw.port) else {
            problems.note(at("port"), raw.port, "is no port; ports go from 1 to 65535");
            continue;
        };
        let node_port = raw::port(raw.node_port);
        if node_port.is_none() && raw.node_port != 0 {
            problems.note(at("nodePort"), raw.node_port, "is no port; ports go from 1 to 65535");
        }
        let name: Arc<str> = raw.name.unwrap_or_default().into();
        if !taken.insert((name.clone(), protocol)) {
            problems.note(at("name"), &*name, "names another port too");
            continue;
        }
        ports.push(ServicePort { name, protocol, port, node_port });
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: serde_json::Value) -> Service {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_service_reads_as_the_api_server_writes_it() {
        let service = read(json!({
            "kind": "Service", "apiVersion": "v1",
            "metadata": {"name": "httpd-svc", "namespace": "default", "resourceVersion": "7", "managedFields": []},
            "spec": {
                "type": "NodePort", "clusterIP": "10.96.1.2", "clusterIPs": ["10.96.1.2", "fd00:96::2"],
                "ports": [{"name": "http", "protocol": "TCP", "port": 8080, "targetPort": 80, "nodePort": 31688}],
                "selector": {"app": "httpd"}, "sessionAffinity": "ClientIP", "externalIPs": null,
                "internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local"
            },
            "status": {"loadBalancer": {}}
        }));
        assert_eq!(service.name().to_string(), "default/httpd-svc");
        assert_eq!(service.kind, ServiceType::NodePort);
        assert_eq!(service.cluster_ips().len(), 2);
        assert_eq!(service.ports[0].node_port, Some(31688));
        assert_eq!(service.session_affinity, SessionAffinity::ClientIp(Duration::from_secs(10_800)));
        assert!(service.internal_traffic_local && service.proxied());
    }

    #[test]
    fn impossible_values_read_as_absent() {
        let service = read(json!({
            "metadata": {"name": "bad", "namespace": "default"},
            "spec": {
                "clusterIP": "10.96.1.2",
                "ports": [{"port": 0}, {"port": 70000}, {"port": 80, "protocol": "ICMP"}, {"port": 80, "nodePort": -1}, {}],
                "externalIPs": ["not an address", "192.0.2.1"],
                "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": -5}}
            }
        }));
        assert_eq!(service.ports.len(), 1);
        assert_eq!(service.ports[0].node_port, None);
        assert_eq!(service.external_ips, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(service.session_affinity, SessionAffinity::ClientIp(Duration::from_secs(10_800)));
        let problems: Vec<_> = service.problems.iter().collect();
        assert_eq!(problems.len(), 6, "each is reported: {problems:?}");
        assert_eq!(problems[1], "spec.ports[1].port: 70000 is no port; ports go from 1 to 65535");
    }

    #[test]
    fn external_policy_and_health_check_count_only_for_services_that_outsiders_reach() {
        let with = |spec: serde_json::Value| {
            let mut spec = spec;
            spec["externalTrafficPolicy"] = "Local".into();
            spec["healthCheckNodePort"] = 32000.into();
            let service = read(json!({"metadata": {"name": "s", "namespace": "d"}, "spec": spec}));
            (service.external_traffic_policy == ExternalTrafficPolicy::Local, service.health_check_node_port)
        };
        assert_eq!(with(json!({"type": "ClusterIP"})), (false, None));
        assert_eq!(with(json!({"type": "ClusterIP", "externalIPs": ["192.0.2.1"]})), (true, None));
        assert_eq!(with(json!({"type": "NodePort"})), (true, None));
        assert_eq!(with(json!({"type": "LoadBalancer"})), (true, Some(32000)));
    }

    #[test]
    fn source_ranges_may_have_spaces_around_and_bits_beyond_the_prefix() {
        let service = read(json!({
            "metadata": {"name": "s", "namespace": "d"},
            "spec": {"loadBalancerSourceRanges": [" 203.0.113.7/25 ", "2001:db8::/32", "nonsense"]}
        }));
        let ranges: Vec<_> = service.source_ranges.iter().map(ToString::to_string).collect();
        assert_eq!(ranges, ["203.0.113.0/25", "2001:db8::/32"]);
        assert_eq!(service.problems.iter().count(), 1);
    }

    #[test]
    fn which_services_a_proxy_leaves_alone() {
        let with = |labels: serde_json::Value, spec: serde_json::Value| {
            read(json!({"metadata": {"name": "s", "namespace": "d", "labels": labels}, "spec": spec}))
        };
        let address = json!({"clusterIP": "10.96.1.2"});
        assert!(with(json!({}), address.clone()).proxied());
        assert!(!with(json!({PROXY_NAME: "other"}), address).proxied());
        assert!(!with(json!({}), json!({"clusterIP": "None"})).proxied());
        assert!(!with(json!({}), json!({"type": "ExternalName", "clusterIP": "10.96.1.2"})).proxied());
        assert!(!with(json!(null), json!({})).proxied(), "no address allocated yet");
    }

    #[test]
    fn load_balancer_addresses_in_mode_proxy_are_not_ours() {
        let ingress = json!([{"ip": "192.0.2.1", "ipMode": "VIP"}, {"ip": "192.0.2.2", "ipMode": "Proxy"},
            {"hostname": "lb.example"}, {"ip": "192.0.2.3"}]);
        let service = read(json!({
            "metadata": {"name": "s", "namespace": "d"}, "spec": {"type": "LoadBalancer"},
            "status": {"loadBalancer": {"ingress": ingress}}
        }));
        let addresses: Vec<_> = service.load_balancer_ips.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["192.0.2.1", "192.0.2.3"]);
    }

    #[test]
    fn a_service_may_have_every_port_there_is() {
        let ports: Vec<_> =
            (1..=65_535).map(|port| json!({"name": format!("p{port}"), "port": port})).collect();
        let service = read(json!({"metadata": {"name": "a", "namespace": "b"}, "spec": {"ports": ports}}));
        assert_eq!(service.ports.len(), 65_535);
    }
}
