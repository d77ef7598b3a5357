//! Objects that every cluster has from its first moment: namespaces, the Service `kubernetes` and
//! the addresses behind it.

use std::net::SocketAddr;

use api::status::{Reason, Status};
use futures::future::select_all;
use serde_json::{Value, json};
use store::ReadError;

use crate::object;
use crate::registry::{Part, Registry, key};

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// What is kept: group, resource, namespace, name.
const KEPT: [(&str, &str, Option<&str>, &str); 3] = [
    ("", "services", Some("default"), "kubernetes"),
    ("", "endpoints", Some("default"), "kubernetes"),
    ("discovery.k8s.io", "endpointslices", Some("default"), "kubernetes"),
];
/// The API's usual port.
const DEFAULT_PORT: u16 = 6443;
/// Endpoints of `kubernetes` are not mirrored: the server writes the slice itself.
const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";

/// Makes what is missing and brings the rest up to date.
pub(crate) async fn run(registry: &Registry, advertised: &[SocketAddr]) -> Result<(), Status> {
    for name in NAMESPACES {
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": name, "labels": { "kubernetes.io/metadata.name": name } },
        });
        ensure(registry, ("", "namespaces"), None, &object, |_| None).await?;
    }
    let port = advertised.first().map_or(DEFAULT_PORT, SocketAddr::port);
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": { "component": "apiserver", "provider": "kubernetes" },
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": registry.first_service_ip().to_string(), "sessionAffinity": "None",
            "ports": [{ "name": "https", "port": 443, "protocol": "TCP", "targetPort": port }],
        },
    });
    let target = service["spec"]["ports"].clone();
    ensure(registry, ("", "services"), Some("default"), &service, |old| {
        (old["spec"]["ports"] != target).then(|| {
            let mut new = old.clone();
            new["spec"]["ports"] = target.clone();
            new
        })
    })
    .await?;
    // A server on the loopback address alone stands behind no Service: no pod could reach it there.
    let reachable: Vec<SocketAddr> =
        advertised.iter().filter(|address| !address.ip().is_loopback()).copied().collect();
    if reachable.is_empty() { Ok(()) } else { addresses(registry, &reachable, port).await }
}

/// The address of the Service `kubernetes`; none in a new store.
pub(crate) async fn service_address(registry: &Registry) -> Result<Option<String>, Status> {
    let kind = registry.schema.resource("", "v1", "services").ok_or_else(Status::resource_not_found)?;
    match registry.record(kind, Some("default"), "kubernetes").await {
        Ok(record) => Ok(object::read(&record)?["spec"]["clusterIP"].as_str().map(str::to_owned)),
        Err(status) if status.reason == Reason::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

/// Brings the objects back whenever someone has changed or deleted them, until the store closes.
pub(crate) async fn keep(registry: &Registry, advertised: &[SocketAddr]) {
    loop {
        let begin = registry.store.revision();
        if let Err(status) = run(registry, advertised).await {
            tracing::warn!(%status, "the Service kubernetes could not be brought up to date");
        }
        let watched = KEPT.iter().filter_map(|(group, plural, namespace, name)| {
            let kind = registry.schema.resource(group, "v1", plural)?;
            registry.store.watch(&key(kind, *namespace, name), begin).ok()
        });
        let mut watchers: Vec<_> = watched.collect();
        if watchers.is_empty() {
            return;
        }
        let next = select_all(watchers.iter_mut().map(|watcher| watcher.next())).await;
        if let (Err(ReadError::Closed), ..) = next {
            return;
        }
    }
}

async fn addresses(registry: &Registry, advertised: &[SocketAddr], port: u16) -> Result<(), Status> {
    let ips: Vec<String> = advertised.iter().map(|address| address.ip().to_string()).collect();
    let metadata = |labels: Value| json!({ "name": "kubernetes", "namespace": "default", "labels": labels });
    let ports = json!([{ "name": "https", "port": port, "protocol": "TCP" }]);
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": metadata(json!({ SKIP_MIRROR: "true" })),
        "subsets": [{ "addresses": ips.iter().map(|ip| json!({ "ip": ip })).collect::<Vec<_>>(), "ports": ports }],
    });
    let family = if advertised.iter().all(SocketAddr::is_ipv4) { "IPv4" } else { "IPv6" };
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": metadata(json!({ "kubernetes.io/service-name": "kubernetes" })),
        "addressType": family, "ports": ports,
        "endpoints": ips.iter().map(|ip| json!({ "addresses": [ip], "conditions": { "ready": true } })).collect::<Vec<_>>(),
    });
    for (resource, object, fields) in [
        (("", "endpoints"), &endpoints, &["subsets"][..]),
        (("discovery.k8s.io", "endpointslices"), &slice, &["endpoints", "ports"][..]),
    ] {
        ensure(registry, resource, Some("default"), object, |old| {
            let mut new = old.clone();
            for field in fields {
                new[*field] = object[*field].clone();
            }
            (new != *old).then_some(new)
        })
        .await?;
    }
    Ok(())
}

/// Creates an object, or mends the one that is there.
async fn ensure(
    registry: &Registry,
    (group, plural): (&str, &str),
    namespace: Option<&str>,
    object: &Value,
    mend: impl Fn(&Value) -> Option<Value> + Send + Sync,
) -> Result<(), Status> {
    let kind = registry.schema.resource(group, "v1", plural).ok_or_else(Status::resource_not_found)?;
    let created = registry.create(kind, namespace, object.clone(), false).await;
    match created {
        Err(status) if status.reason == Reason::AlreadyExists => {}
        Err(status) => {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            // An address of one's own is taken by the object itself when it is there already.
            if registry.record(kind, namespace, name).await.is_err() {
                return Err(status);
            }
        }
        Ok(_) => return Ok(()),
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let change = |old: &Value| Ok(mend(old).unwrap_or_else(|| old.clone()));
    registry.change(kind, namespace, name, Part::Main, false, change).await?;
    Ok(())
}
