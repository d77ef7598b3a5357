//! Services.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::metadata::{Metadata, RawMetadata};
use super::{Object, raw};
use crate::ServiceName;

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
    /// `spec.ports`; those with an impossible port are left out.
    pub ports: Vec<ServicePort>,
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// `status.loadBalancer.ingress` addresses that the proxy answers for (`ipMode` is not `Proxy`, KEP-1860).
    pub load_balancer_ips: Vec<IpAddr>,
    /// `spec.externalTrafficPolicy`.
    pub external_traffic_policy: ExternalTrafficPolicy,
    /// Whether `spec.internalTrafficPolicy` is `Local` (KEP-2086).
    pub internal_traffic_local: bool,
    /// `spec.sessionAffinity`.
    pub session_affinity: SessionAffinity,
    /// `spec.publishNotReadyAddresses`.
    pub publish_not_ready_addresses: bool,
    /// Whether the label `service.kubernetes.io/service-proxy-name` gives the Service to another proxy.
    pub other_proxy: bool,
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
}

#[derive(Deserialize)]
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
        let cluster_ips = match spec.cluster_ip.as_deref() {
            Some("None") => ClusterIps::Headless,
            // Old servers and hand-written manifests give only the singular.
            _ if spec.cluster_ips.is_empty() => ClusterIps::Addresses(raw::addresses(&spec.cluster_ip)),
            _ => ClusterIps::Addresses(raw::addresses(&spec.cluster_ips)),
        };
        let virtual_addresses = status
            .load_balancer
            .ingress
            .iter()
            .filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"))
            .filter_map(|ingress| ingress.ip.as_ref());
        let timeout = spec.session_affinity_config.client_ip.timeout_seconds;
        let timeout = timeout.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(AFFINITY_SECONDS);
        Self {
            kind: match spec.r#type.as_deref() {
                Some("NodePort") => ServiceType::NodePort,
                Some("LoadBalancer") => ServiceType::LoadBalancer,
                Some("ExternalName") => ServiceType::ExternalName,
                _ => ServiceType::ClusterIp,
            },
            cluster_ips,
            external_name: spec.external_name,
            ports: spec.ports.into_iter().filter_map(RawPort::read).collect(),
            external_ips: raw::addresses(&spec.external_ips),
            load_balancer_ips: raw::addresses(virtual_addresses),
            external_traffic_policy: match spec.external_traffic_policy.as_deref() {
                Some("Local") => ExternalTrafficPolicy::Local,
                _ => ExternalTrafficPolicy::Cluster,
            },
            internal_traffic_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            session_affinity: match spec.session_affinity.as_deref() {
                Some("ClientIP") => SessionAffinity::ClientIp(Duration::from_secs(timeout)),
                _ => SessionAffinity::None,
            },
            publish_not_ready_addresses: spec.publish_not_ready_addresses,
            other_proxy: metadata.labels.contains_key(PROXY_NAME),
            metadata: metadata.into(),
        }
    }
}

impl RawPort {
    fn read(self) -> Option<ServicePort> {
        Some(ServicePort {
            protocol: Protocol::named(self.protocol.as_deref())?,
            port: raw::port(self.port)?,
            node_port: raw::port(self.node_port),
            name: self.name.unwrap_or_default().into(),
        })
    }
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
}
