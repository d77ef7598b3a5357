//! What one Service adds to the rules of a family.

use service::ServiceName;

use super::{endpoints, port};
use crate::conntrack::stale::Front;
use crate::sight::Sight;
use crate::xtables::Lines;
use crate::xtables::Settings;
use crate::xtables::is_writable;

/// What one Service adds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fragment {
    /// Its ports, in the order in which the Service lists them.
    pub(crate) ports: Vec<PortRules>,
    /// How many endpoints it has, whatever their state.
    pub(crate) endpoints: usize,
    /// Where its UDP connections come in, and where they may lead.
    pub(crate) fronts: Vec<Front>,
}

/// What one port of a Service adds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PortRules {
    /// Rules of the filter table, all in chains that Services share.
    pub(crate) filter: Lines,
    /// Rules of chains of the nat table that Services share.
    pub(crate) front: Lines,
    /// Chains of the nat table that are this port's.
    pub(crate) chains: Vec<String>,
    /// Their rules.
    pub(crate) own: Lines,
}

impl Fragment {
    /// Compiles a Service; `None` if it adds nothing because it is gone or not ours.
    pub(crate) fn compile(sight: &Sight<'_>, name: &ServiceName, settings: &Settings) -> Option<Self> {
        let mut fragment = Self::default();
        let views = sight.ports(name);
        for view in views.iter().filter(|view| view.family == settings.family && is_writable(view)) {
            fragment.ports.push(port::compile(view, settings));
            fragment.endpoints += endpoints::count(sight.cluster.slices(name), view.port, view.family);
            fragment.fronts.extend(Front::of(view));
        }
        (!fragment.ports.is_empty()).then_some(fragment)
    }

    /// Its own chains.
    pub(crate) fn chains(&self) -> impl Iterator<Item = &String> {
        self.ports.iter().flat_map(|port| &port.chains)
    }
}
