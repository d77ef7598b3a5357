//! Slices for hand-made Endpoints, so that those who read slices see them too.

use std::collections::BTreeMap;
use std::net::IpAddr;

use follow::EventType;
use k8s_openapi::api::core::v1::{EndpointAddress, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::DeleteParams;

use super::packing::{self, Group};
use super::{MANAGED_BY, SERVICE_NAME, TRIGGER_TIME, selector_of};
use crate::runtime::cache::Key;
use crate::runtime::context::{Context, namespace_goes, owned_by};

/// The name of this controller on its slices.
pub(crate) const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// Endpoints with this label are not mirrored.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Endpoints with this annotation are a lock, not addresses.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Says how Endpoints were applied, and nothing about a slice.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The most addresses that are mirrored of one subset.
const MAX_ADDRESSES: usize = 1000;

/// Brings the mirrored slices of one Endpoints object up to date.
pub(crate) async fn reconcile(context: &Context, key: Key) -> kube::Result<()> {
    let own: Vec<EndpointSlice> = context
        .cache::<EndpointSlice>()
        .within(&key.namespace)
        .into_iter()
        .filter(|slice| slice.labels().get(SERVICE_NAME) == Some(&key.name))
        .filter(|slice| slice.labels().get(MANAGED_BY).is_some_and(|manager| manager == MANAGER))
        .map(|slice| (*slice).clone())
        .collect();
    let service = context.cache::<Service>().get(&key).filter(|service| selector_of(service).is_none());
    let endpoints = context.cache::<Endpoints>().get(&key).filter(|endpoints| is_mirrored(endpoints));
    let (Some(_), Some(endpoints)) = (service, endpoints) else {
        for slice in &own {
            context.delete(slice, &DeleteParams::default()).await?;
        }
        return Ok(());
    };
    let (groups, problems) = groups(&endpoints);
    for (reason, note) in problems {
        context.record("endpoint-slice-mirroring-controller", &*endpoints, EventType::Warning, reason, note);
    }
    let plan = packing::plan(&groups, &own);
    let (labels, annotations) = (labels(&endpoints), annotations(&endpoints));
    let written = async {
        for group in plan.create.into_iter().filter(|group| !group.endpoints.is_empty()) {
            let slice = EndpointSlice {
                metadata: ObjectMeta {
                    generate_name: Some(format!("{}-", key.name)),
                    namespace: Some(key.namespace.clone()),
                    labels: Some(labels.clone()),
                    annotations: Some(annotations.clone()),
                    owner_references: owned_by(&*endpoints),
                    ..ObjectMeta::default()
                },
                address_type: group.address_type,
                endpoints: Some(group.endpoints),
                ports: Some(group.ports),
            };
            context.create(&slice).await?;
        }
        for mut slice in plan.update {
            slice.metadata.labels = Some(labels.clone());
            slice.metadata.annotations = Some(annotations.clone());
            context.replace(&slice).await?;
        }
        for slice in &plan.delete {
            context.delete(slice, &DeleteParams::default()).await?;
        }
        Ok(())
    };
    match written.await {
        Err(error) if namespace_goes(&error) => Ok(()),
        result => result,
    }
}

/// Whether Endpoints are someone's own work and meant to be reached.
pub(crate) fn is_mirrored(endpoints: &Endpoints) -> bool {
    endpoints.labels().get(SKIP).is_none_or(|value| value != "true")
        && !endpoints.annotations().contains_key(LEADER)
        && !endpoints.labels().contains_key("endpoints.kubernetes.io/managed-by")
}

type Problem = (&'static str, String);

/// Each subset in each family, and what could not be taken over.
fn groups(endpoints: &Endpoints) -> (Vec<Group>, Vec<Problem>) {
    let (mut groups, mut problems) = (Vec::<Group>::new(), Vec::new());
    for subset in endpoints.subsets.iter().flatten() {
        let ports: Vec<EndpointPort> = subset
            .ports
            .iter()
            .flatten()
            .map(|port| EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(port.port),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
                app_protocol: port.app_protocol.clone(),
            })
            .collect();
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let not_ready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        let mut count = 0;
        for (address, is_ready) in ready.chain(not_ready) {
            let Ok(ip) = address.ip.parse::<IpAddr>() else {
                problems.push(("InvalidIPAddress", format!("{} is not an IP address", address.ip)));
                continue;
            };
            count += 1;
            if count > MAX_ADDRESSES {
                continue;
            }
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            let place = groups.iter().position(|group| group.address_type == family && group.ports == ports);
            let place = place.unwrap_or_else(|| {
                groups.push(Group {
                    address_type: family.into(),
                    ports: ports.clone(),
                    endpoints: Vec::new(),
                });
                groups.len() - 1
            });
            let endpoint = mirrored(address, is_ready);
            let known = &mut groups[place].endpoints;
            if !known.iter().any(|other| other.addresses == endpoint.addresses) {
                known.push(endpoint);
            }
        }
        if count > MAX_ADDRESSES {
            let note = format!("a subset has {count} addresses, {MAX_ADDRESSES} of them are mirrored");
            problems.push(("TooManyAddressesToMirror", note));
        }
    }
    (groups, problems)
}

fn mirrored(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), serving: None, terminating: None }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn labels(endpoints: &Endpoints) -> BTreeMap<String, String> {
    let mut labels = endpoints.labels().clone();
    labels.insert(SERVICE_NAME.to_owned(), endpoints.name_any());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

fn annotations(endpoints: &Endpoints) -> BTreeMap<String, String> {
    let mut annotations = endpoints.annotations().clone();
    annotations.remove(TRIGGER_TIME);
    annotations.remove(LAST_APPLIED);
    annotations
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn endpoints(subsets: serde_json::Value) -> Endpoints {
        serde_json::from_value(
            json!({"metadata": {"name": "db", "namespace": "default"}, "subsets": subsets}),
        )
        .unwrap()
    }

    #[test]
    fn a_subset_is_split_by_family_and_its_addresses_are_listed_once() {
        let (groups, problems) = groups(&endpoints(json!([{
            "addresses": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}],
            "notReadyAddresses": [{"ip": "192.0.2.2"}],
            "ports": [{"port": 5432}],
        }])));
        assert!(problems.is_empty());
        let shape: Vec<_> = groups.iter().map(|g| (g.address_type.as_str(), g.endpoints.len())).collect();
        assert_eq!(shape, [("IPv4", 2), ("IPv6", 1)]);
        assert_eq!(groups[0].endpoints[1].conditions.as_ref().unwrap().ready, Some(false));
    }

    #[test]
    fn an_address_that_is_none_is_reported_and_left_out() {
        let (groups, problems) = groups(&endpoints(
            json!([{"addresses": [{"ip": "nowhere"}, {"ip": "192.0.2.1"}], "ports": [{"port": 1}]}]),
        ));
        assert_eq!(groups[0].endpoints.len(), 1);
        assert_eq!(problems[0].0, "InvalidIPAddress");
    }

    #[test]
    fn endpoints_that_ask_not_to_be_are_not_mirrored() {
        let mut skipped = endpoints(json!([]));
        skipped.labels_mut().insert(SKIP.to_owned(), "true".to_owned());
        assert!(!is_mirrored(&skipped));
        assert!(is_mirrored(&endpoints(json!([]))));
    }
}
