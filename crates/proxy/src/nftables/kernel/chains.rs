//! Which chains are in the kernel, and who uses them.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use nfnetlink::{Table, Transaction};

use crate::nftables::front::ServiceKey;
use crate::nftables::layout::{Edits, ServiceChain};
use crate::nftables::settings::Settings;

/// How many elements lead to each chain. All chains in the kernel are here; one without users goes with the next
/// change.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    users: HashMap<ServiceChain, usize>,
    /// Those without users.
    idle: HashSet<ServiceChain>,
}

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
        let idle = std::mem::take(&mut self.idle);
        let make = self.count(edits);
        let unused = |chain: &ServiceChain| self.users.get(chain) == Some(&0);
        let remove: Vec<_> = idle.into_iter().filter(unused).collect();
        for chain in &remove {
            self.users.remove(chain);
            self.idle.remove(chain);
        }
        Step { make, remove }
    }

    /// Counts users anew; returns the chains that do not exist so far.
    fn count(&mut self, edits: &Edits) -> Vec<ServiceChain> {
        let mut made = Vec::new();
        for chain in &edits.used {
            match self.users.get_mut(chain) {
                Some(users) => *users += 1,
                None => {
                    made.push(chain.clone());
                    self.users.insert(chain.clone(), 1);
                }
            }
        }
        for chain in &edits.left {
            if let Some(users) = self.users.get_mut(chain) {
                *users -= 1;
            }
        }
        let touched = edits.used.iter().chain(&edits.left);
        for chain in touched {
            match self.users.get(chain) {
                Some(0) => self.idle.insert(chain.clone()),
                _ => self.idle.remove(chain),
            };
        }
        made
    }

    /// The endpoints that remember clients; see [`ServiceChain::remembers`].
    pub(super) fn remembering(&self) -> HashSet<(ServiceKey, SocketAddr, bool)> {
        let used = self.users.iter().filter(|(_, users)| **users > 0);
        used.filter_map(|(chain, _)| chain.remembers()).collect()
    }

    /// The chains that elements lead to, in order.
    pub(super) fn used(&self) -> Vec<&ServiceChain> {
        let mut used: Vec<_> =
            self.users.iter().filter(|(_, users)| **users > 0).map(|(chain, _)| chain).collect();
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
