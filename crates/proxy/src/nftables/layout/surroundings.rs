//! Sets that follow from node and configuration.

use std::net::IpAddr;

use nfnetlink::{Element, range_elements};
use service::{Cidr, Family};

use super::sets::{CLUSTER_CIDRS, NODE_PORT_IPS, SERVICE_CIDRS};
use super::{address_words, octets};
use crate::nftables::settings::Surroundings;

/// The elements of each set that follows from the surroundings.
pub fn surroundings(surroundings: &Surroundings) -> Vec<(&'static str, Vec<Element>)> {
    let Surroundings { pods, node_ports, service_cidrs, own: _ } = surroundings;
    let of_family = |family| {
        [
            (CLUSTER_CIDRS.name(family), ranges(pods, family)),
            (SERVICE_CIDRS.name(family), ranges(service_cidrs, family)),
            (NODE_PORT_IPS.name(family), addresses(node_ports, family)),
        ]
    };
    Family::ALL.into_iter().flat_map(of_family).collect()
}

fn ranges(ranges: &[Cidr], family: Family) -> Vec<Element> {
    let of_family = ranges.iter().filter(|range| Family::of(range.address()) == family);
    range_elements(of_family.map(Cidr::bounds), 4 * usize::from(address_words(family)))
}

fn addresses(addresses: &[IpAddr], family: Family) -> Vec<Element> {
    let of_family = addresses.iter().filter(|address| Family::of(**address) == family);
    let mut keys: Vec<_> = of_family.map(|address| octets(*address)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter().map(Element::key).collect()
}
