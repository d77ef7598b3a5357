//! From the model to rules (kube-proxy 1.36, `pkg/proxy/iptables`).

mod base;
mod endpoints;
mod fragment;
mod port;

pub(super) use base::{FILTER_CHAINS, JUMPS, NAT_CHAINS, SHARED_CHAIN};
pub(super) use fragment::Fragment;

/// Beginnings of the names of chains that belong to a Service port.
pub(super) const CLUSTER: &str = "KUBE-SVC-";
pub(super) const LOCAL: &str = "KUBE-SVL-";
pub(super) const EXTERNAL: &str = "KUBE-EXT-";
pub(super) const FIREWALL: &str = "KUBE-FW-";
pub(super) const ENDPOINT: &str = "KUBE-SEP-";
/// All of them: a chain of the nat table whose name begins so is ours.
pub(super) const SERVICE_CHAINS: [&str; 5] = [CLUSTER, LOCAL, EXTERNAL, FIREWALL, ENDPOINT];
/// A chain without rules: as long as it is there nobody flushed ours.
pub(super) const CANARY: &str = "KUBE-PROXY-CANARY";

#[cfg(test)]
mod tests;
