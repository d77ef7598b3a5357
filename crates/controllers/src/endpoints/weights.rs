//! Weights of endpoints: a pod's annotation becomes part of its slices' annotation, where a proxy sees it.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

/// Annotation on a pod: its share of connections beside the Service's other pods, 0 to 100; 1 without it.
const POD_WEIGHT: &str = "portolan.dev/weight";
/// Annotation on a slice: `address=weight` pairs with commas between them.
const WEIGHTS: &str = "portolan.dev/weights";
const MAX_WEIGHT: u8 = 100;

/// The weights that pods ask for, by address.
#[derive(Debug, Default)]
pub(super) struct Weights(BTreeMap<String, u8>);

impl Weights {
    /// Reads the annotations of pods; what is no weight counts as none.
    pub(super) fn of(pods: &[Arc<Pod>]) -> Self {
        let mut weights = BTreeMap::new();
        for pod in pods {
            let weight = pod.annotations().get(POD_WEIGHT).and_then(|text| text.trim().parse().ok());
            let Some(weight) = weight.filter(|weight| *weight <= MAX_WEIGHT) else { continue };
            let addresses = pod.status.iter().flat_map(|status| status.pod_ips.iter().flatten());
            weights.extend(addresses.map(|address| (address.ip.clone(), weight)));
        }
        Self(weights)
    }

    /// Whether a slice says what it should.
    pub(super) fn are_in(&self, slice: &EndpointSlice) -> bool {
        slice.annotations().get(WEIGHTS) == self.annotation(slice).as_ref()
    }

    /// Makes a slice say what it should.
    pub(super) fn put_into(&self, slice: &mut EndpointSlice) {
        match self.annotation(slice) {
            Some(text) => slice.annotations_mut().insert(WEIGHTS.to_owned(), text),
            None => slice.annotations_mut().remove(WEIGHTS),
        };
    }

    fn annotation(&self, slice: &EndpointSlice) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let addresses = slice.endpoints.iter().flatten().flat_map(|endpoint| &endpoint.addresses);
        let pairs = addresses.filter_map(|address| Some(format!("{address}={}", self.0.get(address)?)));
        Some(pairs.collect::<Vec<_>>().join(",")).filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(address: &str, weight: Option<&str>) -> Arc<Pod> {
        let annotations = weight.map(|weight| serde_json::json!({POD_WEIGHT: weight}));
        let pod = serde_json::json!({
            "metadata": {"name": "p", "annotations": annotations},
            "status": {"podIP": address, "podIPs": [{"ip": address}]},
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn slice(addresses: &[&str]) -> EndpointSlice {
        let endpoints: Vec<_> =
            addresses.iter().map(|address| serde_json::json!({"addresses": [address]})).collect();
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": endpoints, "ports": [],
        }))
        .unwrap()
    }

    #[test]
    fn slices_name_the_weights_of_their_own_pods() {
        let weights =
            Weights::of(&[pod("10.0.0.1", Some("3")), pod("10.0.0.2", None), pod("10.0.0.3", Some("101"))]);
        let mut both = slice(&["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        assert!(!weights.are_in(&both));
        weights.put_into(&mut both);
        assert_eq!(both.annotations()[WEIGHTS], "10.0.0.1=3");
        assert!(weights.are_in(&both) && weights.are_in(&slice(&["10.0.0.2"])));
    }

    #[test]
    fn weights_that_are_taken_back_leave_the_slice() {
        let mut slice = slice(&["10.0.0.1"]);
        Weights::of(&[pod("10.0.0.1", Some("3"))]).put_into(&mut slice);
        let none = Weights::of(&[pod("10.0.0.1", None)]);
        assert!(!none.are_in(&slice));
        none.put_into(&mut slice);
        assert!(none.are_in(&slice) && slice.annotations().get(WEIGHTS).is_none());
    }
}
