//! From the model to rules (kube-proxy 1.36, `pkg/proxy/iptables`).

mod base;
mod endpoints;
mod fragment;
mod port;
mod settings;

pub(super) use base::{JUMPS, Jump};
pub(super) use fragment::Fragment;
pub use settings::Platform;
pub(super) use settings::Settings;

use service::Family;

use super::rules::Rules;
use crate::sight::Sight;

/// Beginnings of the names of chains that belong to a Service port.
pub(super) const CLUSTER: &str = "KUBE-SVC-";
pub(super) const LOCAL: &str = "KUBE-SVL-";
pub(super) const EXTERNAL: &str = "KUBE-EXT-";
pub(super) const FIREWALL: &str = "KUBE-FW-";
pub(super) const ENDPOINT: &str = "KUBE-SEP-";
/// All of them: a chain of the nat table whose name begins so is ours.
pub(super) const SERVICE_CHAINS: [&str; 5] = [CLUSTER, LOCAL, EXTERNAL, FIREWALL, ENDPOINT];

/// All chains and rules of one family. The same sight gives the same rules.
pub fn compile(sight: &Sight<'_>, family: Family, platform: Platform) -> Rules {
    let mut rules = Rules::new(family, platform);
    rules.update(sight, sight.cluster.names().cloned());
    rules
}

#[cfg(test)]
mod tests;
