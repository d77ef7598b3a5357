//! EndpointSlices (KEP-752).

use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;

use super::balance;
use super::metadata::{Metadata, RawMetadata};
use super::problem::Problems;
use super::service::Protocol;
use super::{Object, raw};
use crate::{Family, ServiceName};

/// Label that says whose endpoints these are.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The same for a Service that several clusters have together (KEP-1645).
const IMPORTED_SERVICE_NAME: &str = "multicluster.kubernetes.io/service-name";
/// Label that says which cluster such endpoints are in.
const SOURCE_CLUSTER: &str = "multicluster.kubernetes.io/source-cluster";
/// The longest label of DNS, in bytes (RFC 1035, 2.3.4).
const LONGEST_LABEL: usize = 63;
/// Label on slices of headless Services, which a proxy has no use for.
const HEADLESS: &str = "service.kubernetes.io/headless";
/// Annotation with the time of the change that the slice's last version came from.
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Some of the endpoints of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "RawSlice")]
pub struct EndpointSlice {
    /// Name and version.
    pub metadata: Metadata,
    /// Name of the Service in the same namespace, from the label `kubernetes.io/service-name`.
    pub service: Option<Arc<str>>,
    /// Whether the label `service.kubernetes.io/headless` is there.
    pub headless: bool,
    /// Whether the label `multicluster.kubernetes.io/service-name` is there: a Service that several clusters have
    /// together has these endpoints, too (KEP-1645).
    pub imported: bool,
    /// `addressType`; `None` for `FQDN`.
    pub family: Option<Family>,
    /// `ports`; those without a number are left out.
    pub ports: Vec<SlicePort>,
    /// `endpoints`; those whose address is not of the slice's family are left out.
    pub endpoints: Vec<SliceEndpoint>,
    /// The annotation `endpoints.kubernetes.io/last-change-trigger-time` as it stands (RFC 3339).
    pub trigger_time: Option<Box<str>>,
    /// What was left out because it cannot be meant.
    pub problems: Problems,
}

/// A port that all endpoints of a slice serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlicePort {
    /// `name`, the same as the Service port's.
    pub name: Arc<str>,
    /// `protocol`.
    pub protocol: Protocol,
    /// `port` on the endpoint.
    pub port: u16,
}

/// One endpoint of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// The first of `addresses`; the API reserves the others.
    pub address: IpAddr,
    /// `conditions.ready`, true if unknown.
    pub ready: bool,
    /// `conditions.serving`, true if unknown.
    pub serving: bool,
    /// `conditions.terminating`, false if unknown (KEP-1672).
    pub terminating: bool,
    /// `nodeName`.
    pub node: Option<Arc<str>>,
    /// `zone`.
    pub zone: Option<Arc<str>>,
    /// `hostname`, a name of its own in DNS.
    pub hostname: Option<Box<str>>,
    /// `hints`.
    pub hints: Option<Box<Hints>>,
    /// Its share of connections beside the others', from the slice's annotation `portolan.dev/weights`; 1 unless
    /// given there, at most [`super::MAX_WEIGHT`].
    pub weight: u8,
}

/// Which clients an endpoint is meant for (KEP-2433, KEP-3015).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hints {
    /// `forNodes[].name`.
    pub nodes: Vec<Arc<str>>,
    /// `forZones[].name`.
    pub zones: Vec<Arc<str>>,
}

impl EndpointSlice {
    /// The Service whose endpoints these are.
    pub fn service_name(&self) -> Option<ServiceName> {
        let name = self.service.clone()?;
        Some(ServiceName { namespace: self.metadata.namespace.clone(), name })
    }
}

impl Object for EndpointSlice {
    const KIND: &'static str = "EndpointSlice";
    const GROUP: &'static str = "discovery.k8s.io";
    const VERSION: &'static str = "v1";
    const PLURAL: &'static str = "endpointslices";

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn unreadable(metadata: Metadata, why: &str) -> Option<Self> {
        Some(Self { metadata, problems: Problems::unreadable(why), ..RawSlice::default().into() })
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RawSlice {
    metadata: RawMetadata,
    #[serde(default)]
    address_type: String,
    #[serde(default, deserialize_with = "raw::nullable")]
    ports: Vec<RawPort>,
    #[serde(default, deserialize_with = "raw::nullable")]
    endpoints: Vec<RawEndpoint>,
}

#[derive(Deserialize)]
struct RawPort {
    name: Option<String>,
    protocol: Option<String>,
    port: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEndpoint {
    #[serde(default, deserialize_with = "raw::nullable")]
    addresses: Vec<String>,
    #[serde(default, deserialize_with = "raw::nullable")]
    conditions: RawConditions,
    node_name: Option<String>,
    zone: Option<String>,
    hostname: Option<Box<str>>,
    hints: Option<RawHints>,
    target_ref: Option<RawTarget>,
}

#[derive(Deserialize)]
struct RawTarget {
    kind: Option<String>,
    name: Option<Box<str>>,
}

#[derive(Deserialize, Default)]
struct RawConditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawHints {
    #[serde(default, deserialize_with = "raw::nullable")]
    for_nodes: Vec<RawHint>,
    #[serde(default, deserialize_with = "raw::nullable")]
    for_zones: Vec<RawHint>,
}

#[derive(Deserialize)]
struct RawHint {
    #[serde(default)]
    name: String,
}

/// An EndpointSlice whose endpoints without a hostname have that of their pod: its name, if a label of DNS can hold
/// it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "RawSlice")]
pub struct PodNamedSlice(pub EndpointSlice);

/// An EndpointSlice of a Service that several clusters have together (KEP-1645), under the name that they know it
/// by. The hostnames of its endpoints end with the cluster's, as one label more.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "RawSlice")]
pub struct ImportedSlice(pub EndpointSlice);

/// Objects that are EndpointSlices for the API server.
macro_rules! are_slices {
    ($($slice:ident),*) => {$(
        impl Object for $slice {
            const KIND: &'static str = EndpointSlice::KIND;
            const GROUP: &'static str = EndpointSlice::GROUP;
            const VERSION: &'static str = EndpointSlice::VERSION;
            const PLURAL: &'static str = EndpointSlice::PLURAL;

            fn metadata(&self) -> &Metadata {
                &self.0.metadata
            }

            fn unreadable(metadata: Metadata, why: &str) -> Option<Self> {
                EndpointSlice::unreadable(metadata, why).map(Self)
            }
        }
    )*};
}

are_slices!(PodNamedSlice, ImportedSlice);

impl From<RawSlice> for PodNamedSlice {
    fn from(mut raw: RawSlice) -> Self {
        for endpoint in &mut raw.endpoints {
            let pod = endpoint.target_ref.take().filter(|target| target.kind.as_deref() == Some("Pod"));
            let name = pod.and_then(|pod| pod.name).filter(|name| name.len() <= LONGEST_LABEL);
            endpoint.hostname = endpoint.hostname.take().filter(|hostname| !hostname.is_empty()).or(name);
        }
        Self(raw.into())
    }
}

impl From<RawSlice> for ImportedSlice {
    fn from(mut raw: RawSlice) -> Self {
        let labels = &mut raw.metadata.labels;
        labels.remove(SERVICE_NAME);
        if let Some(service) = labels.remove(IMPORTED_SERVICE_NAME) {
            labels.insert(SERVICE_NAME.to_owned(), service);
        }
        if let Some(cluster) = labels.remove(SOURCE_CLUSTER) {
            for endpoint in &mut raw.endpoints {
                let hostname = endpoint.hostname.take().filter(|hostname| !hostname.is_empty());
                let hostname = hostname.or_else(|| Some(dashed(endpoint.addresses.first()?).into()));
                endpoint.hostname = hostname.map(|hostname| format!("{hostname}.{cluster}").into());
            }
        }
        Self(raw.into())
    }
}

/// An address as a label of DNS, which cannot end in a dash.
fn dashed(address: &str) -> String {
    let label = address.replace(['.', ':'], "-");
    if label.ends_with('-') { label + "0" } else { label }
}

impl From<RawSlice> for EndpointSlice {
    fn from(mut raw: RawSlice) -> Self {
        let mut problems = Problems::default();
        let family = Family::named(&raw.address_type);
        let weights = balance::weights(&raw.metadata.annotations, &mut problems);
        let mut endpoints = Vec::with_capacity(raw.endpoints.len());
        for (index, endpoint) in raw.endpoints.into_iter().enumerate() {
            let Some(family) = family else { break };
            match endpoint.address(family) {
                Ok(address) => {
                    let weight = weights.get(&address).copied().unwrap_or(1);
                    endpoints.push(endpoint.read(address, weight));
                }
                Err(why) => problems.note(format!("endpoints[{index}].addresses"), why, ""),
            }
        }
        let mut ports = Vec::with_capacity(raw.ports.len());
        for (index, port) in raw.ports.into_iter().enumerate() {
            // A port without a number stands for all ports; a Service has nothing to send there.
            let Some(number) = port.port else { continue };
            match port.read(number) {
                Some(port) => ports.push(port),
                None => problems.note(format!("ports[{index}]"), number, "is no port of a known protocol"),
            }
        }
        Self {
            service: raw::shared(raw.metadata.labels.remove(SERVICE_NAME)),
            headless: raw.metadata.labels.contains_key(HEADLESS),
            imported: raw.metadata.labels.contains_key(IMPORTED_SERVICE_NAME),
            family,
            ports,
            endpoints,
            trigger_time: raw.metadata.annotations.remove(TRIGGER_TIME).map(String::into_boxed_str),
            metadata: raw.metadata.into(),
            problems,
        }
    }
}

impl RawPort {
    fn read(self, number: i64) -> Option<SlicePort> {
        Some(SlicePort {
            protocol: Protocol::named(self.protocol.as_deref())?,
            port: raw::port(number)?,
            name: self.name.unwrap_or_default().into(),
        })
    }
}

impl RawEndpoint {
    /// The first address, if connections can be sent there.
    fn address(&self, family: Family) -> Result<IpAddr, String> {
        let text = self.addresses.first().ok_or("an endpoint without an address")?;
        let address: IpAddr = text.parse().map_err(|_| format!("{text} is no IP address"))?;
        match Family::of(address) == family && !address.is_unspecified() {
            true => Ok(address),
            false => Err(format!("{text} is no {family} address of an endpoint")),
        }
    }

    fn read(self, address: IpAddr, weight: u8) -> SliceEndpoint {
        SliceEndpoint {
            address,
            ready: self.conditions.ready.unwrap_or(true),
            serving: self.conditions.serving.unwrap_or(true),
            terminating: self.conditions.terminating.unwrap_or(false),
            node: raw::shared(self.node_name),
            zone: raw::shared(self.zone),
            hostname: self.hostname,
            hints: self.hints.map(|hints| Box::new(hints.read())),
            weight,
        }
    }
}

impl RawHints {
    fn read(self) -> Hints {
        let names = |hints: Vec<RawHint>| hints.into_iter().map(|hint| hint.name.into()).collect();
        Hints { nodes: names(self.for_nodes), zones: names(self.for_zones) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_conditions_mean_ready_and_serving() {
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": {"name": "web-1", "namespace": "default", "labels": {SERVICE_NAME: "web"}},
            "addressType": "IPv4",
            "ports": [{"name": "", "port": 80, "protocol": "TCP"}, {"name": "any", "port": null}],
            "endpoints": [
                {"addresses": ["10.244.1.2"], "conditions": {}},
                {"addresses": ["10.244.1.3"], "conditions": {"ready": false, "serving": true, "terminating": true}},
                {"addresses": ["10.244.1.4"], "conditions": {"ready": false}},
                {"addresses": ["fd00::1"]}, {"addresses": ["0.0.0.0"]}, {"addresses": []}
            ]
        }))
        .unwrap();
        assert_eq!(slice.service_name().unwrap().to_string(), "default/web");
        assert_eq!((slice.ports.len(), slice.problems.iter().count()), (1, 3));
        let conditions: Vec<_> = slice
            .endpoints
            .iter()
            .map(|endpoint| (endpoint.ready, endpoint.serving, endpoint.terminating))
            .collect();
        assert_eq!(conditions, [(true, true, false), (false, true, true), (false, true, false)]);
    }

    #[test]
    fn weights_stand_beside_the_endpoints_they_are_for() {
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": {"name": "web-1", "namespace": "default", "annotations": {"portolan.dev/weights": "10.0.0.2=5"}},
            "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}]
        }))
        .unwrap();
        assert_eq!(slice.endpoints.iter().map(|endpoint| endpoint.weight).collect::<Vec<_>>(), [1, 5]);
    }

    #[test]
    fn endpoints_can_be_named_after_pods_or_clusters() {
        let slice = json!({
            "metadata": {
                "name": "web-1", "namespace": "default",
                "labels": {SERVICE_NAME: "derived-1", IMPORTED_SERVICE_NAME: "web", SOURCE_CLUSTER: "east"}
            },
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.0.0.1"], "hostname": "a", "targetRef": {"kind": "Pod", "name": "web-x"}},
                {"addresses": ["10.0.0.2"], "targetRef": {"kind": "Pod", "name": "web-y"}},
                {"addresses": ["10.0.0.3"], "targetRef": {"kind": "Pod", "name": "n".repeat(64)}},
                {"addresses": ["10.0.0.4"], "targetRef": {"kind": "Node", "name": "node"}}
            ]
        });
        let hostnames = |slice: &EndpointSlice| -> Vec<_> {
            slice.endpoints.iter().map(|endpoint| endpoint.hostname.clone().unwrap_or_default()).collect()
        };
        let PodNamedSlice(by_pod) = serde_json::from_value(slice.clone()).unwrap();
        assert_eq!(hostnames(&by_pod), ["a".into(), "web-y".into(), "".into(), "".into()]);
        let ImportedSlice(imported) = serde_json::from_value(slice).unwrap();
        assert_eq!(imported.service_name().unwrap().to_string(), "default/web");
        assert_eq!(hostnames(&imported)[..2], ["a.east".into(), "10-0-0-2.east".into()]);
    }

    #[test]
    fn a_slice_of_domain_names_has_no_endpoints_for_us() {
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": {"name": "web-1", "namespace": "default"},
            "addressType": "FQDN", "endpoints": [{"addresses": ["web.example"]}], "ports": null
        }))
        .unwrap();
        assert_eq!((slice.family, slice.endpoints.len()), (None, 0));
    }
}
