//! Chains that come and go with Services.

use std::net::SocketAddr;

use nfnetlink::{Chain, Rule, Table, Transaction};

use super::guard::GuardChain;
use super::pick::PickChain;
use super::stick::StickChain;
use crate::nftables::front::ServiceKey;
use crate::nftables::settings::Settings;

/// A chain that elements lead to. It is there while any does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceChain {
    /// Picks a slot.
    Pick(PickChain),
    /// Serves an endpoint and remembers the client.
    Stick(StickChain),
    /// Drops clients that may not come in.
    Guard(GuardChain),
}

impl ServiceChain {
    /// Its name, which says all that its rules depend on beside the settings.
    pub fn name(&self) -> String {
        match self {
            Self::Pick(chain) => chain.name(),
            Self::Stick(chain) => chain.name(),
            Self::Guard(chain) => chain.name(),
        }
    }

    /// Makes it, with its rules and the set that belongs to it.
    pub fn make(&self, settings: &Settings, table: &Table, transaction: &mut impl Transaction) {
        if let Self::Guard(chain) = self {
            let (set, elements) = chain.set();
            transaction.add_set(table, &set);
            transaction.add_elements(table, &set.name, &elements);
        }
        let (chain, rules): (Chain, Vec<Rule>) = match self {
            Self::Pick(chain) => (chain.chain(), chain.rules(settings)),
            Self::Stick(chain) => (chain.chain(), chain.rules()),
            Self::Guard(chain) => (chain.chain(), chain.rules()),
        };
        transaction.add_chain(table, &chain);
        rules.iter().for_each(|rule| transaction.add_rule(table, rule));
    }

    /// The Service port and the endpoint for which it remembers clients, and whether that is for traffic that stays
    /// on the node.
    pub fn remembers(&self) -> Option<(ServiceKey, SocketAddr, bool)> {
        match self {
            Self::Stick(chain) => Some((chain.service, chain.endpoint, chain.local)),
            Self::Pick(_) | Self::Guard(_) => None,
        }
    }

    /// Removes it. Nothing may lead to it any more.
    pub fn remove(&self, table: &Table, transaction: &mut impl Transaction) {
        let name = self.name();
        transaction.flush_chain(table, &name);
        transaction.delete_chain(table, &name);
        if matches!(self, Self::Guard(_)) {
            transaction.delete_set(table, &name);
        }
    }
}
