//! Endpoints as EndpointSlices, as the cluster's mirroring controller makes them (KEP-752).

use serde_json::{Value, json};

use crate::objects::EndpointSlice;
use crate::{Family, ServiceName};

/// The Service that Endpoints belong to: it has their name.
pub(super) fn service_name(endpoints: &Value) -> ServiceName {
    let text = |field: &str| endpoints["metadata"][field].as_str().unwrap_or_default().to_owned();
    ServiceName::new(text("namespace"), text("name"))
}

/// One slice for each subset and family.
pub(super) fn mirror(endpoints: &Value) -> Vec<EndpointSlice> {
    let subsets = endpoints["subsets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut slices = Vec::new();
    for (index, subset) in subsets.iter().enumerate() {
        for family in Family::ALL {
            let ready = addresses(subset, "addresses", true, family);
            let waiting = addresses(subset, "notReadyAddresses", false, family);
            let all: Vec<_> = ready.chain(waiting).collect();
            if !all.is_empty() {
                slices.extend(slice(endpoints, index, family, &subset["ports"], all));
            }
        }
    }
    slices
}

fn addresses<'a>(
    subset: &'a Value,
    field: &str,
    ready: bool,
    family: Family,
) -> impl Iterator<Item = Value> + 'a {
    let addresses = subset[field].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_family = move |address: &&Value| {
        let ip = address["ip"].as_str().and_then(|ip| ip.parse().ok());
        ip.is_some_and(|ip| Family::of(ip) == family)
    };
    addresses.iter().filter(of_family).map(move |address| {
        json!({
            "addresses": [address["ip"]], "hostname": address["hostname"], "nodeName": address["nodeName"],
            "conditions": {"ready": ready, "serving": ready, "terminating": false},
        })
    })
}

fn slice(
    endpoints: &Value,
    index: usize,
    family: Family,
    ports: &Value,
    addresses: Vec<Value>,
) -> Option<EndpointSlice> {
    let ServiceName { namespace, name } = service_name(endpoints);
    let slice = json!({
        "metadata": {
            "namespace": *namespace, "name": format!("{name}-{index}-{family}").to_lowercase(),
            "labels": {"kubernetes.io/service-name": *name},
        },
        "addressType": family.to_string(), "ports": ports, "endpoints": addresses,
    });
    serde_json::from_value(slice).ok()
}
