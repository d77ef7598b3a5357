//! What one Service asks of the kernel, in one family.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use nfnetlink::ipset::Entry;
use nfnetlink::ipvs::{Front, Sharing};
use service::ServiceName;

use super::port;
use super::sets::Set;
use super::settings::Settings;
use crate::conntrack::stale;
use crate::sight::Sight;

/// How connections that come in at a front are shared out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// How.
    pub sharing: Sharing,
    /// Real servers with their weights.
    pub real: BTreeMap<SocketAddr, u32>,
}

/// What one Service asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fragment {
    /// Virtual servers. Where two ports of the Service claim a front, the first has it.
    pub(crate) servers: BTreeMap<Front, Server>,
    /// Entries of sets.
    pub(crate) entries: BTreeSet<(Set, Entry)>,
    /// Addresses of our interface.
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// Load balancer fronts that source ranges close to processes of the node.
    pub(crate) closed: BTreeSet<Front>,
    /// Where UDP connections come in.
    pub(crate) flows: Vec<stale::Front>,
}

impl Fragment {
    /// `None` for a Service that is gone or not ours.
    pub(crate) fn compile(sight: &Sight<'_>, name: &ServiceName, settings: &Settings) -> Option<Self> {
        let mut views = sight.ports(name);
        views.retain(|view| view.family == settings.common.family);
        let mut fragment = Self::default();
        for view in &views {
            port::compile(view, settings, &mut fragment);
        }
        (!views.is_empty()).then_some(fragment)
    }
}
