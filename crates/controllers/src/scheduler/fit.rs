//! Whether a pod's requests fit into what a node has left.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The resource that counts pods instead of what they ask for.
const PODS: &str = "pods";

/// Amounts by resource, in thousandths of its unit.
type Amounts = BTreeMap<String, i128>;

/// The first resource of which a node has too little left for a pod beside those that it has.
pub(super) fn lacking<'a>(pod: &Pod, node: &Node, others: impl Iterator<Item = &'a Pod>) -> Option<String> {
    let allocatable = node.status.as_ref()?.allocatable.as_ref()?;
    let mut used = requests(pod);
    for other in others {
        for (resource, amount) in requests(other) {
            *used.entry(resource).or_default() += amount;
        }
    }
    let too_much = |(resource, amount): &(&String, &i128)| {
        let present = allocatable.get(*resource).and_then(thousandths).unwrap_or(0);
        **amount > present
    };
    let asked = requests(pod);
    let mut concerned = used.iter().filter(|(resource, _)| asked.contains_key(*resource));
    concerned.find(too_much).map(|(resource, _)| resource.clone())
}

/// What a pod asks for: the sum of its containers, or the largest init container if that is more.
fn requests(pod: &Pod) -> Amounts {
    let mut total = Amounts::from([(PODS.to_owned(), 1000)]);
    let Some(spec) = &pod.spec else { return total };
    let of = |container: &k8s_openapi::api::core::v1::Container| -> Amounts {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        requests.into_iter().flatten().filter_map(|(name, q)| Some((name.clone(), thousandths(q)?))).collect()
    };
    let is_sidecar = |container: &&k8s_openapi::api::core::v1::Container| {
        container.restart_policy.as_deref() == Some("Always")
    };
    let init = || spec.init_containers.iter().flatten();
    for container in spec.containers.iter().chain(init().filter(is_sidecar)) {
        for (resource, amount) in of(container) {
            *total.entry(resource).or_default() += amount;
        }
    }
    for container in init().filter(|container| !is_sidecar(container)) {
        for (resource, amount) in of(container) {
            let sum = total.entry(resource).or_default();
            *sum = amount.max(*sum);
        }
    }
    total
}

/// A quantity in thousandths, rounded up.
fn thousandths(quantity: &Quantity) -> Option<i128> {
    service::quantity(&quantity.0).map(|value| (value * 1000.0).ceil() as i128)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(requests: &serde_json::Value) -> Pod {
        let spec = json!({"containers": [{"name": "c", "resources": {"requests": requests}}]});
        serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap()
    }

    fn node() -> Node {
        let allocatable = json!({"cpu": "2", "memory": "1Gi", "pods": "3"});
        serde_json::from_value(json!({"metadata": {}, "status": {"allocatable": allocatable}})).unwrap()
    }

    #[test]
    fn quantities_are_read_with_their_suffixes() {
        for (text, expected) in [
            ("100m", 100),
            ("2", 2000),
            ("1.5", 1500),
            ("1Ki", 1_024_000),
            ("1k", 1_000_000),
            ("1e3", 1_000_000),
            ("1E", 10_i128.pow(21)),
        ] {
            assert_eq!(thousandths(&Quantity(text.to_owned())), Some(expected), "{text}");
        }
        assert_eq!(thousandths(&Quantity("lots".to_owned())), None);
    }

    #[test]
    fn a_pod_fits_as_long_as_every_resource_suffices() {
        let lacks =
            |requests: serde_json::Value, others: &[Pod]| lacking(&pod(&requests), &node(), others.iter());
        assert_eq!(lacks(json!({"cpu": "2", "memory": "1Gi"}), &[]), None);
        assert_eq!(lacks(json!({"cpu": "64"}), &[]).as_deref(), Some("cpu"));
        assert_eq!(lacks(json!({"cpu": "1500m"}), &[pod(&json!({"cpu": "1"}))]).as_deref(), Some("cpu"));
        assert_eq!(lacks(json!({"example.com/gpu": "1"}), &[]).as_deref(), Some("example.com/gpu"));
        let full = [pod(&json!({})), pod(&json!({})), pod(&json!({}))];
        assert_eq!(lacks(json!({}), &full).as_deref(), Some("pods"));
    }
}
