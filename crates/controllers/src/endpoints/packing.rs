//! How endpoints are spread over slices: pure, and as upstream packs them.
//!
//! Slices that are there are kept and changed as little as possible; what is new first fills slices
//! that change anyway, then the unchanged one that it fits into best, then new slices. Slices are
//! never re-balanced.

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};

/// The most endpoints of one slice (upstream's `--max-endpoints-per-slice`).
pub(super) const MAX_ENDPOINTS: usize = 100;

/// One set of ports in one address family, and who serves it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    pub(super) address_type: String,
    pub(super) ports: Vec<EndpointPort>,
    pub(super) endpoints: Vec<Endpoint>,
}

/// What has to be written.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Contents of new slices.
    pub(super) create: Vec<Group>,
    /// Slices with their new content.
    pub(super) update: Vec<EndpointSlice>,
    /// Slices that nobody needs.
    pub(super) delete: Vec<EndpointSlice>,
}

/// Compares what should be with the slices that are there.
pub(super) fn plan(desired: &[Group], existing: &[EndpointSlice]) -> Plan {
    let mut plan = Plan::default();
    let mut unused: Vec<&EndpointSlice> = existing.iter().collect();
    for group in desired {
        let (own, rest): (Vec<_>, Vec<_>) = unused
            .into_iter()
            .partition(|slice| slice.address_type == group.address_type && same_ports(slice, &group.ports));
        unused = rest;
        pack(group, &own, &mut plan);
    }
    for slice in unused {
        plan.delete.push(slice.clone());
    }
    reuse_names(&mut plan);
    plan
}

/// Packs one group into its slices.
fn pack(group: &Group, own: &[&EndpointSlice], plan: &mut Plan) {
    let mut missing: BTreeMap<String, &Endpoint> =
        group.endpoints.iter().map(|endpoint| (identity(endpoint), endpoint)).collect();
    let (mut unchanged, mut changed) = (Vec::new(), Vec::new());
    for slice in own {
        let kept: Vec<Endpoint> = slice
            .endpoints
            .iter()
            .flatten()
            .filter_map(|endpoint| missing.remove(&identity(endpoint)).cloned())
            .collect();
        if Some(&kept) == slice.endpoints.as_ref() || (kept.is_empty() && endpoint_count(slice) == 0) {
            unchanged.push(*slice);
        } else {
            changed.push(with_endpoints(slice, kept));
        }
    }
    let mut missing: Vec<Endpoint> = missing.into_values().cloned().collect();
    changed.sort_by_key(|slice| std::cmp::Reverse(endpoint_count(slice)));
    for slice in &mut changed {
        fill(slice, &mut missing);
    }
    if !missing.is_empty() && missing.len() < MAX_ENDPOINTS {
        let fits = |slice: &&EndpointSlice| endpoint_count(slice) + missing.len() <= MAX_ENDPOINTS;
        let best = (0..unchanged.len())
            .filter(|index| fits(&unchanged[*index]))
            .max_by_key(|index| endpoint_count(unchanged[*index]));
        if let Some(index) = best {
            let slice = unchanged.swap_remove(index);
            let mut slice = with_endpoints(slice, slice.endpoints.clone().unwrap_or_default());
            fill(&mut slice, &mut missing);
            changed.push(slice);
        }
    }
    for endpoints in missing.chunks(MAX_ENDPOINTS) {
        plan.create.push(Group { endpoints: endpoints.to_vec(), ..group.clone() });
    }
    let filled = unchanged.iter().copied().filter(|slice| endpoint_count(slice) > 0).count()
        + changed.iter().filter(|slice| endpoint_count(slice) > 0).count()
        + plan.create.iter().filter(|created| created.ports == group.ports).count();
    let mut placeholder = filled == 0 && group.endpoints.is_empty();
    for slice in unchanged {
        if endpoint_count(slice) == 0 && !std::mem::take(&mut placeholder) {
            plan.delete.push(slice.clone());
        }
    }
    for slice in changed {
        if endpoint_count(&slice) == 0 && !std::mem::take(&mut placeholder) {
            plan.delete.push(slice);
        } else {
            plan.update.push(slice);
        }
    }
    if placeholder {
        plan.create.push(group.clone());
    }
}

/// A slice to be created and one to be deleted of the same family become one update.
fn reuse_names(plan: &mut Plan) {
    let created = std::mem::take(&mut plan.create);
    for group in created {
        match plan.delete.iter().position(|slice| slice.address_type == group.address_type) {
            Some(index) => {
                let mut slice = with_endpoints(&plan.delete.swap_remove(index), group.endpoints);
                slice.ports = Some(group.ports);
                plan.update.push(slice);
            }
            None => plan.create.push(group),
        }
    }
}

fn fill(slice: &mut EndpointSlice, missing: &mut Vec<Endpoint>) {
    let endpoints = slice.endpoints.get_or_insert_default();
    let room = MAX_ENDPOINTS.saturating_sub(endpoints.len()).min(missing.len());
    endpoints.extend(missing.drain(..room));
}

fn with_endpoints(slice: &EndpointSlice, endpoints: Vec<Endpoint>) -> EndpointSlice {
    EndpointSlice { endpoints: Some(endpoints), ..slice.clone() }
}

fn endpoint_count(slice: &EndpointSlice) -> usize {
    slice.endpoints.as_ref().map_or(0, Vec::len)
}

fn same_ports(slice: &EndpointSlice, ports: &[EndpointPort]) -> bool {
    let own = slice.ports.as_deref().unwrap_or_default();
    own.len() == ports.len() && ports.iter().all(|port| own.contains(port))
}

/// Endpoints with the same addresses, hostname and target are the same endpoint.
fn identity(endpoint: &Endpoint) -> String {
    let target = endpoint.target_ref.as_ref();
    let name = target.and_then(|target| target.name.as_deref()).unwrap_or_default();
    let namespace = target.and_then(|target| target.namespace.as_deref()).unwrap_or_default();
    let hostname = endpoint.hostname.as_deref().unwrap_or_default();
    format!("{}|{hostname}|{namespace}|{name}", endpoint.addresses.join(","))
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use serde_json::json;

    use super::*;

    fn endpoint(n: usize) -> Endpoint {
        Endpoint { addresses: vec![format!("10.244.{}.{}", n / 250, n % 250)], ..Endpoint::default() }
    }

    fn group(range: std::ops::Range<usize>) -> Group {
        let port = EndpointPort { port: Some(80), ..EndpointPort::default() };
        Group { address_type: "IPv4".into(), ports: vec![port], endpoints: range.map(endpoint).collect() }
    }

    fn slice(name: &str, range: std::ops::Range<usize>) -> EndpointSlice {
        let Group { address_type, ports, endpoints } = group(range);
        let mut slice: EndpointSlice = serde_json::from_value(
            json!({"metadata": {"name": name}, "addressType": address_type, "endpoints": []}),
        )
        .unwrap();
        slice.ports = Some(ports);
        slice.endpoints = Some(endpoints);
        slice
    }

    fn shape(plan: &Plan) -> (Vec<usize>, Vec<(String, usize)>, Vec<String>) {
        (
            plan.create.iter().map(|group| group.endpoints.len()).collect(),
            plan.update.iter().map(|slice| (slice.name_any(), endpoint_count(slice))).collect(),
            plan.delete.iter().map(ResourceExt::name_any).collect(),
        )
    }

    #[test]
    fn new_endpoints_are_cut_into_full_slices() {
        assert_eq!(shape(&plan(&[group(0..250)], &[])), (vec![100, 100, 50], vec![], vec![]));
    }

    #[test]
    fn nothing_is_written_when_nothing_has_changed() {
        let existing = [slice("a", 0..100), slice("b", 100..120)];
        assert_eq!(plan(&[group(0..120)], &existing), Plan::default());
    }

    #[test]
    fn an_endpoint_that_went_makes_room_for_one_that_came() {
        let existing = [slice("a", 0..100), slice("b", 100..120)];
        let mut desired = group(1..120);
        desired.endpoints.push(endpoint(200));
        assert_eq!(shape(&plan(&[desired], &existing)), (vec![], vec![("a".into(), 100)], vec![]));
    }

    #[test]
    fn new_endpoints_go_into_the_fullest_unchanged_slice_that_holds_them_all() {
        let existing = [slice("a", 0..40), slice("b", 40..110), slice("c", 110..205)];
        assert_eq!(shape(&plan(&[group(0..215)], &existing)), (vec![], vec![("b".into(), 80)], vec![]));
    }

    #[test]
    fn a_slice_that_becomes_empty_goes_unless_it_is_the_last() {
        let existing = [slice("a", 0..1), slice("b", 1..2)];
        assert_eq!(shape(&plan(&[group(0..1)], &existing)), (vec![], vec![], vec!["b".into()]));
        let (created, updated, deleted) = shape(&plan(&[group(0..0)], &existing));
        assert_eq!((created.len(), updated.len(), deleted.len()), (0, 1, 1));
    }

    #[test]
    fn a_service_without_endpoints_has_one_empty_slice() {
        assert_eq!(shape(&plan(&[group(0..0)], &[])), (vec![0], vec![], vec![]));
        assert_eq!(plan(&[group(0..0)], &[slice("a", 0..0)]), Plan::default());
    }

    #[test]
    fn changed_ports_keep_the_slice_and_its_name() {
        let mut desired = group(0..3);
        desired.ports[0].port = Some(81);
        assert_eq!(shape(&plan(&[desired], &[slice("a", 0..3)])), (vec![], vec![("a".into(), 3)], vec![]));
    }
}
