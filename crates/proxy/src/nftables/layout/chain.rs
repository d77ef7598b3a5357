//! Chains that come and go with Services.

use nfnetlink::{Chain, Rule, Table, Transaction};

use super::guard::GuardChain;
use super::pick::PickChain;
use super::remember::RememberChain;
use crate::nftables::settings::Settings;

/// A chain that elements lead to. It is there while any does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceChain {
    /// Picks a slot.
    Pick(PickChain),
    /// Remembers clients.
    Remember(RememberChain),
    /// Drops clients that may not come in.
    Guard(GuardChain),
}

impl ServiceChain {
    /// Its name, which says all that its rules depend on beside the settings.
    pub fn name(&self) -> String {
        match self {
            Self::Pick(chain) => chain.name(),
            Self::Remember(chain) => chain.name(),
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
            Self::Remember(chain) => (chain.chain(), chain.rules(settings)),
            Self::Guard(chain) => (chain.chain(), chain.rules()),
        };
        transaction.add_chain(table, &chain);
        rules.iter().for_each(|rule| transaction.add_rule(table, rule));
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
