//! Which chains are ours.

use super::compile::{CANARY, FILTER_CHAINS, NAT_CHAINS, SERVICE_CHAINS, SHARED_CHAIN};

/// Whether a chain of this name in this table is made by this mode alone.
pub(crate) fn is_ours(table: &str, chain: &str) -> bool {
    chain == CANARY
        || match table {
            "filter" => FILTER_CHAINS.contains(&chain),
            "nat" => NAT_CHAINS.contains(&chain) || is_service_chain(chain),
            _ => false,
        }
}

/// Whether a chain may be the kubelet's as well.
pub(super) fn is_shared(table: &str, chain: &str) -> bool {
    table == "filter" && chain == SHARED_CHAIN
}

/// Whether a chain of the nat table is named as those of Services are.
pub(super) fn is_service_chain(name: &str) -> bool {
    SERVICE_CHAINS.iter().any(|prefix| name.starts_with(prefix))
}
