//! The tutorial's objects, from the manifests that users apply.

use anyhow::Context;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::api::PostParams;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::watching::is_true;

/// The Deployment of four web servers.
pub(crate) const DEPLOYMENT: &str = include_str!("../../examples/tutorial/httpd-deployment.yaml");
/// Its Service, port 8080.
pub(crate) const SERVICE: &str = include_str!("../../examples/tutorial/httpd-service.yaml");
/// The Services of the later steps that can stand beside it.
pub(crate) const MORE_SERVICES: [&str; 2] = [
    include_str!("../../examples/tutorial/httpd-headless.yaml"),
    include_str!("../../examples/tutorial/external-name.yaml"),
];
/// The label of the Deployment's pods.
pub(crate) const LABEL: &str = "app=httpd";
/// How many pods the Deployment has.
pub(crate) const REPLICAS: usize = 4;

/// Reads one object of a manifest.
pub(crate) fn read<K: DeserializeOwned>(manifest: &str) -> anyhow::Result<K> {
    serde_saphyr::from_str(manifest).context("a manifest of the tutorial cannot be read")
}

/// Creates an object in the namespace `default`.
pub(crate) async fn create<K>(client: &Client, object: &K) -> anyhow::Result<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    Ok(Api::default_namespaced(client.clone()).create(&PostParams::default(), object).await?)
}

/// Creates the Deployment and its Service; returns the Service's address.
pub(crate) async fn apply(client: &Client) -> anyhow::Result<std::net::SocketAddr> {
    create(client, &read::<Deployment>(DEPLOYMENT)?).await?;
    address(&create(client, &read::<Service>(SERVICE)?).await?)
}

/// The ClusterIP and port of a Service.
pub(crate) fn address(service: &Service) -> anyhow::Result<std::net::SocketAddr> {
    let spec = service.spec.as_ref().context("a Service without spec")?;
    let ip = spec.cluster_ip.as_deref().context("a Service without clusterIP")?.parse()?;
    let ports = spec.ports.as_deref().unwrap_or_default();
    let port = ports.first().context("a Service without ports")?.port;
    Ok(std::net::SocketAddr::new(ip, u16::try_from(port)?))
}

/// Whether a pod is ready.
pub(crate) fn pod_is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    is_true(conditions.map(|c| (c.type_.as_str(), c.status.as_str())), "Ready")
}

/// Whether a node is ready.
pub(crate) fn node_is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    is_true(conditions.map(|c| (c.type_.as_str(), c.status.as_str())), "Ready")
}
