//! The cluster's DNS as a Service: its sockets, and the objects that lead to them.

use std::net::{IpAddr, SocketAddr};

use anyhow::Context;
use k8s_openapi::api::core::v1::{Endpoints, Service};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::Ground;
use crate::host;

/// The Service by which pods reach the cluster's DNS, under the name that everyone knows.
const SERVICE: &str = "kube-dns";
const NAMESPACE: &str = "kube-system";
/// The port of DNS.
const PORT: u16 = 53;
/// Where the DNS of a node listens for other nodes, on a machine that may have a resolver of its own.
const SHARED_PORT: u16 = 10053;

/// The sockets of the cluster's DNS: on each node the Service's own address, which the node's pods reach without
/// connection tracking, and a port of the node's address for the others.
pub(super) struct Dns {
    pub(super) config: dns::Config,
    pub(super) sockets: dns::Sockets,
    /// The nodes with their addresses.
    nodes: Vec<(String, IpAddr)>,
    service_address: IpAddr,
}

impl Dns {
    /// Opens the sockets where the nodes are.
    pub(super) fn open(ground: &Ground, service_address: IpAddr, domain: &str) -> anyhow::Result<Self> {
        let mut sockets = dns::Sockets::none();
        for (name, address) in &ground.nodes {
            for socket in [SocketAddr::new(service_address, PORT), SocketAddr::new(*address, SHARED_PORT)] {
                let opened = ground.on_node(name, || dns::Sockets::of_service(socket))?;
                sockets.add(opened.with_context(|| format!("DNS cannot start on {name}"))?);
            }
        }
        Ok(Self {
            config: dns::Config::of_cluster(domain, &host::resolvers())?,
            sockets,
            nodes: ground.nodes.clone(),
            service_address,
        })
    }
}

/// Makes the Service `kube-dns` and says who is behind it.
pub(super) async fn publish_dns(client: &Client, dns: &Dns) -> anyhow::Result<()> {
    let metadata = json!({
        "name": SERVICE, "namespace": NAMESPACE,
        "labels": {
            "k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "Portolan",
        },
    });
    let ports = |field: &str, number: u16| {
        let port = |name: &str, protocol: &str| {
            let mut port = json!({ "name": name, "protocol": protocol, "port": PORT });
            port[field] = number.into();
            port
        };
        json!([port("dns", "UDP"), port("dns-tcp", "TCP")])
    };
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": { "clusterIP": dns.service_address.to_string(), "ports": ports("targetPort", SHARED_PORT) },
    });
    let addresses: Vec<_> = dns
        .nodes
        .iter()
        .map(|(node, address)| json!({ "ip": address.to_string(), "nodeName": node }))
        .collect();
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": metadata,
        "subsets": [{ "addresses": addresses, "ports": ports("port", SHARED_PORT) }],
    });
    apply::<Service>(client, service).await.context("the Service kube-dns cannot be made")?;
    apply::<Endpoints>(client, endpoints).await.context("the Endpoints of kube-dns cannot be made")?;
    Ok(())
}

/// Creates an object, or brings the one that is there up to date.
async fn apply<K>(client: &Client, object: Value) -> anyhow::Result<()>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), NAMESPACE);
    let typed: K = serde_json::from_value(object.clone())?;
    if api.get_opt(&typed.name_any()).await?.is_some() {
        api.patch(&typed.name_any(), &PatchParams::default(), &Patch::Merge(&object)).await?;
    } else {
        api.create(&PostParams::default(), &typed).await?;
    }
    Ok(())
}
