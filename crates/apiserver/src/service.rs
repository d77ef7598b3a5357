//! What the API server decides of Services: addresses, node ports, and what a change of type drops.

mod allocator;
mod range;
mod transition;

pub(crate) use allocator::Allocator;
pub use range::{IpRange, PortRange, RangeError};
pub(crate) use transition::carry_over;

use serde_json::Value;

/// The Service's type; absent is ClusterIP.
fn kind_of(service: &Value) -> &str {
    service["spec"]["type"].as_str().filter(|kind| !kind.is_empty()).unwrap_or("ClusterIP")
}

/// Whether the type gives each port a node port.
fn has_node_ports(service: &Value) -> bool {
    match kind_of(service) {
        "NodePort" => true,
        "LoadBalancer" => service["spec"]["allocateLoadBalancerNodePorts"].as_bool() != Some(false),
        _ => false,
    }
}

/// The ports of a Service.
fn ports(service: &Value) -> impl Iterator<Item = &Value> {
    service["spec"]["ports"].as_array().into_iter().flatten()
}

/// A port's node port, if it has one.
fn node_port(port: &Value) -> Option<u16> {
    port["nodePort"].as_u64().and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0)
}
