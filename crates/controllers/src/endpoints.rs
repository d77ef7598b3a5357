//! Who stands behind a Service: Endpoints, EndpointSlices, and slices for hand-made Endpoints.

pub(crate) mod legacy;
pub(crate) mod mirroring;
mod packing;
mod selection;
pub(crate) mod slices;
mod weights;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;

/// Marks slices and Endpoints of headless Services.
const HEADLESS: &str = "service.kubernetes.io/headless";
/// Names the Service that a slice belongs to.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Names the controller that a slice belongs to.
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// When the oldest of the changes that a slice shows happened.
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

pub(crate) use selection::{affects_endpoints, has_ended, is_ready, selector_of};

/// The labels that a Service hands down: its own, without those that mean something on a slice.
fn inherited_labels(service: &Service) -> BTreeMap<String, String> {
    let reserved = [HEADLESS, SERVICE_NAME, MANAGED_BY];
    let own = service.labels().iter().filter(|(name, _)| !reserved.contains(&name.as_str()));
    let mut labels: BTreeMap<String, String> =
        own.map(|(name, value)| (name.clone(), value.clone())).collect();
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

fn is_headless(service: &Service) -> bool {
    let ip = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
    matches!(ip, None | Some("" | "None"))
}
