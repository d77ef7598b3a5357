//! Which chains are in the kernel, and who uses them.

use std::collections::HashMap;

use nfnetlink::{Table, Transaction};

use crate::nftables::layout::{Edits, ServiceChain};
use crate::nftables::settings::Settings;

/// How many elements lead to each chain. All chains in the kernel are here; one without users goes with the next
/// change.
#[derive(Debug, Default)]
pub(crate) struct Chains(HashMap<ServiceChain, usize>);

impl Chains {
    /// The chains that elements lead to where nothing was before.
    pub(super) fn of(edits: &Edits) -> Self {
        let mut chains = Self::default();
        chains.count(edits);
        chains
    }

    /// What edits need of chains: those to make before them and those to remove with them.
    ///
    /// Chains come in a transaction before the one whose elements lead to them, and go in one after it: a packet
    /// that meets the commit may find the element on one side of it and the rules of the chain on the other.
    pub(crate) fn follow(&mut self, edits: &Edits) -> Step {
        let mut remove: Vec<_> =
            self.0.iter().filter(|(_, users)| **users == 0).map(|(chain, _)| chain.clone()).collect();
        let make = self.count(edits);
        remove.retain(|chain| self.0.get(chain) == Some(&0));
        remove.iter().for_each(|chain| {
            self.0.remove(chain);
        });
        Step { make, remove }
    }

    /// Counts users anew; returns the chains that do not exist so far.
    fn count(&mut self, edits: &Edits) -> Vec<ServiceChain> {
        let mut made = Vec::new();
        for chain in &edits.used {
            match self.0.get_mut(chain) {
                Some(users) => *users += 1,
                None => {
                    made.push(chain.clone());
                    self.0.insert(chain.clone(), 1);
                }
            }
        }
        for chain in &edits.left {
            if let Some(users) = self.0.get_mut(chain) {
                *users -= 1;
            }
        }
        made
    }

    /// The chains that elements lead to, in order.
    pub(super) fn used(&self) -> Vec<&ServiceChain> {
        let mut used: Vec<_> =
            self.0.iter().filter(|(_, users)| **users > 0).map(|(chain, _)| chain).collect();
        used.sort_unstable();
        used
    }
}

/// Chains that come and go with a change of elements.
#[derive(Debug)]
pub(crate) struct Step {
    make: Vec<ServiceChain>,
    remove: Vec<ServiceChain>,
}

impl Step {
    /// The first transaction: what elements will lead to.
    pub(crate) fn before(&self, settings: &Settings, table: &Table, transaction: &mut impl Transaction) {
        self.make.iter().for_each(|chain| chain.make(settings, table, transaction));
    }

    /// The second: the elements, and the end of what none leads to.
    pub(crate) fn with(&self, edits: &Edits, table: &Table, transaction: &mut impl Transaction) {
        edits.write(table, transaction);
        self.remove.iter().for_each(|chain| chain.remove(table, transaction));
    }
}
