//! Which metrics belong to which modes.

use crate::config::ModeName::{self, Iptables, Ipvs, Nftables, Userspace};

/// Metrics that not all modes have, and those that do: kube-proxy's choice (`pkg/proxy/metrics`), with userspace mode
/// as iptables mode, whose programs it uses.
const OF_MODES: [(&str, &[ModeName]); 12] = [
    ("kubeproxy_sync_full_proxy_rules_duration_seconds", &[Nftables, Iptables, Userspace]),
    ("kubeproxy_sync_partial_proxy_rules_duration_seconds", &[Nftables, Iptables, Userspace]),
    ("kubeproxy_sync_proxy_rules_nftables_sync_failures_total", &[Nftables]),
    ("kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total", &[Nftables]),
    ("kubeproxy_nftables_localhost_nodeport_listeners", &[Nftables]),
    ("kubeproxy_nftables_localhost_nodeport_listener_creation_failures_total", &[Nftables]),
    ("kubeproxy_sync_proxy_rules_iptables_restore_failures_total", &[Iptables, Ipvs, Userspace]),
    ("kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total", &[Iptables, Userspace]),
    ("kubeproxy_sync_proxy_rules_iptables_total", &[Iptables]),
    ("kubeproxy_sync_proxy_rules_iptables_last", &[Iptables]),
    ("kubeproxy_iptables_ct_state_invalid_dropped_packets_total", &[Iptables]),
    ("kubeproxy_iptables_localhost_nodeports_accepted_packets_total", &[Iptables]),
];

/// Whether a mode has a metric.
pub(super) fn has(mode: ModeName, metric: &str) -> bool {
    let modes = OF_MODES.iter().find(|(name, _)| *name == metric);
    modes.is_none_or(|(_, modes)| modes.contains(&mode))
}
