//! ipvs mode: virtual servers of the kernel's IPVS, with kube-proxy's sets and rules around them.
//!
//! [`compile`] turns a [`Sight`] into [`Rules`]: virtual servers, addresses for the interface `kube-ipvs0`, entries
//! of ipsets, and the few rules of iptables that ask about those. Names and rules are kube-proxy 1.36's; see
//! `pkg/proxy/ipvs` there. What differs from other modes is inherited from IPVS: a virtual server cannot tell
//! clients apart, so traffic policy Local means the same endpoints for pods and outsiders.

mod apply;
mod chains;
mod claims;
mod fragment;
mod port;
mod rules;
mod sets;
mod settings;
mod state;
mod trace;

use service::Family;

pub use apply::{Failure, Ipvs, cleanup, cleanup_iptables_mode, held};
pub use fragment::Server;
pub use rules::Rules;
pub(crate) use state::INTERFACE;
pub use state::State;
pub use trace::Walker;
pub(crate) use trace::looks_at_weights;

use crate::mode::Touched;
use crate::sight::Sight;
use crate::xtables::Platform;

/// All that one family asks of the kernel. The same sight gives the same rules.
pub fn compile(sight: &Sight<'_>, family: Family, platform: Platform) -> Rules {
    let mut rules = Rules::new(family, platform);
    rules.update(sight, &Touched::Everything);
    rules
}

#[cfg(test)]
mod tests;
