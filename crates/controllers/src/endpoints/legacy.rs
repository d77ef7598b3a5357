//! The Endpoints controller: the older view of who stands behind a Service, of one family.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::DeleteParams;

use super::selection::{
    address_in, has_ended, hostname, is_ready, publishes_not_ready, selects, target_port,
};
use super::slices::target_ref;
use super::{inherited_labels, selector_of};
use crate::runtime::cache::Key;
use crate::runtime::context::{Context, namespace_goes};

/// The name of this controller on its Endpoints.
const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");
/// The most addresses of one Endpoints object.
const MAX_ADDRESSES: usize = 1000;
/// Says that there are more addresses than shown.
const OVER_CAPACITY: (&str, &str) = ("endpoints.kubernetes.io/over-capacity", "truncated");

/// Brings the Endpoints of one Service up to date.
pub(crate) async fn reconcile(context: &Context, key: Key) -> kube::Result<()> {
    let existing = context.cache::<Endpoints>().get(&key);
    let Some(service) = context.cache::<Service>().get(&key) else {
        let own = existing.filter(|endpoints| endpoints.labels().get(MANAGED_BY.0).is_some());
        return match own {
            Some(endpoints) => context.delete(&*endpoints, &DeleteParams::default()).await,
            None => Ok(()),
        };
    };
    let Some(selector) = selector_of(&service) else { return Ok(()) };
    let mut pods = context.cache::<Pod>().within(&key.namespace);
    pods.retain(|pod| selects(selector, pod) && !has_ended(pod));
    let desired = desired(&service, &pods);
    let written = match existing {
        Some(existing) => {
            let mut new = (*existing).clone();
            new.subsets = desired.subsets;
            new.metadata.labels = desired.metadata.labels;
            match desired.metadata.annotations {
                Some(annotations) => new.annotations_mut().extend(annotations),
                None => {
                    new.annotations_mut().remove(OVER_CAPACITY.0);
                }
            }
            let unchanged = new.subsets == existing.subsets
                && new.labels() == existing.labels()
                && new.annotations() == existing.annotations();
            if unchanged { Ok(()) } else { context.replace(&new).await }
        }
        None => context.create(&desired).await.map(drop),
    };
    match written {
        Err(error) if namespace_goes(&error) => Ok(()),
        result => result,
    }
}

fn desired(service: &Service, pods: &[Arc<Pod>]) -> Endpoints {
    let (subsets, truncated) = subsets(service, pods);
    let mut labels = inherited_labels(service);
    labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: truncated.then(|| [(OVER_CAPACITY.0.to_owned(), OVER_CAPACITY.1.to_owned())].into()),
            ..ObjectMeta::default()
        },
        subsets: (!subsets.is_empty()).then_some(subsets),
    }
}

/// Ports as they are grouped by: name, number, protocol, application protocol.
type PortKey = (String, i32, String, Option<String>);

/// Addresses grouped by the set of ports they serve, as upstream repacks them.
fn subsets(service: &Service, pods: &[Arc<Pod>]) -> (Vec<EndpointSubset>, bool) {
    let spec = service.spec.as_ref();
    let family = spec.and_then(|spec| spec.ip_families.as_ref()?.first().cloned());
    let family = family.unwrap_or_else(|| "IPv4".to_owned());
    let anyway = publishes_not_ready(service);
    let mut by_ports: BTreeMap<Vec<PortKey>, [Vec<EndpointAddress>; 2]> = BTreeMap::new();
    for pod in pods {
        let terminating = pod.metadata.deletion_timestamp.is_some();
        let Some(ip) = address_in(pod, &family).filter(|_| anyway || !terminating) else { continue };
        let service_ports = spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        let mut ports: Vec<PortKey> = service_ports
            .filter_map(|port| {
                let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
                let name = port.name.clone().unwrap_or_default();
                Some((name, target_port(pod, port)?, protocol, port.app_protocol.clone()))
            })
            .collect();
        let portless = spec.is_some_and(|spec| spec.ports.as_ref().is_none_or(Vec::is_empty));
        if ports.is_empty() && !portless {
            continue;
        }
        ports.sort();
        let address = EndpointAddress {
            ip: ip.to_string(),
            hostname: hostname(service, pod),
            node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            target_ref: Some(target_ref(pod)),
        };
        let [ready, not_ready] = by_ports.entry(ports).or_default();
        if anyway || is_ready(pod) { ready.push(address) } else { not_ready.push(address) }
    }
    let truncated = truncate(&mut by_ports);
    let subsets = by_ports.into_iter().map(|(ports, [mut ready, mut not_ready])| {
        for list in [&mut ready, &mut not_ready] {
            list.sort_by(|a, b| a.ip.cmp(&b.ip));
        }
        let ports = ports.into_iter().map(|(name, port, protocol, app_protocol)| EndpointPort {
            name: Some(name).filter(|name| !name.is_empty()),
            port,
            protocol: Some(protocol),
            app_protocol,
        });
        EndpointSubset {
            addresses: Some(ready).filter(|list| !list.is_empty()),
            not_ready_addresses: Some(not_ready).filter(|list| !list.is_empty()),
            ports: Some(ports.collect()).filter(|list: &Vec<_>| !list.is_empty()),
        }
    });
    (subsets.collect(), truncated)
}

/// Cuts to the capacity of one object, ready addresses before the others.
fn truncate(by_ports: &mut BTreeMap<Vec<PortKey>, [Vec<EndpointAddress>; 2]>) -> bool {
    let mut room = MAX_ADDRESSES;
    let mut truncated = false;
    for which in 0..2 {
        for lists in by_ports.values_mut() {
            truncated |= lists[which].len() > room;
            lists[which].truncate(room);
            room -= lists[which].len();
        }
    }
    truncated
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(n: usize, ready: bool) -> Arc<Pod> {
        let pod = json!({
            "metadata": {"name": format!("web-{n}"), "namespace": "default"},
            "spec": {"nodeName": "n1", "containers": []},
            "status": {
                "podIP": format!("10.244.{}.{}", n / 250, n % 250),
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
            },
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn service(spec: serde_json::Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec}))
            .unwrap()
    }

    #[test]
    fn ready_and_not_ready_addresses_are_listed_apart() {
        let service = service(json!({"ports": [{"port": 8080, "targetPort": 80}]}));
        let (subsets, truncated) = subsets(&service, &[pod(2, true), pod(1, true), pod(3, false)]);
        let ips = |list: &Option<Vec<EndpointAddress>>| {
            list.iter().flatten().map(|address| address.ip.clone()).collect::<Vec<_>>()
        };
        assert_eq!(ips(&subsets[0].addresses), ["10.244.0.1", "10.244.0.2"]);
        assert_eq!(ips(&subsets[0].not_ready_addresses), ["10.244.0.3"]);
        assert_eq!(subsets[0].ports.as_ref().unwrap()[0].port, 80);
        assert!(!truncated);
    }

    #[test]
    fn publishing_not_ready_addresses_makes_them_ready() {
        let service = service(json!({"ports": [{"port": 80}], "publishNotReadyAddresses": true}));
        let (subsets, _) = subsets(&service, &[pod(1, false)]);
        assert_eq!(subsets[0].addresses.as_ref().unwrap().len(), 1);
    }

    #[test]
    fn more_than_a_thousand_addresses_are_cut_ready_ones_first() {
        let service = service(json!({"ports": [{"port": 80}]}));
        let pods: Vec<_> = (0..1100).map(|n| pod(n, n % 2 == 0)).collect();
        let (subsets, truncated) = subsets(&service, &pods);
        assert!(truncated);
        assert_eq!(subsets[0].addresses.as_ref().unwrap().len(), 550);
        assert_eq!(subsets[0].not_ready_addresses.as_ref().unwrap().len(), 450);
    }
}
