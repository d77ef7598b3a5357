//! From the table that is there to the one that should be.
//!
//! What the kernel holds may have been written by an earlier run, or changed by somebody else. It is compared
//! object by object, so a restart changes nothing and a repair only what is broken.

use nfnetlink::{Element, HeldChain, HeldSet, Ruleset, SetContent, Table, Transaction};

/// Two states of a table, of which the first can be turned into the second.
#[derive(Debug)]
pub(super) struct Difference<'a> {
    table: &'a Table,
    held: &'a Ruleset,
    wanted: &'a Ruleset,
    /// For each set that both have: its name, the elements to delete and those to add.
    edits: Vec<(&'a str, Vec<Element>, Vec<Element>)>,
}

impl<'a> Difference<'a> {
    /// `None` if chains or sets are there under the names of others, which cannot be changed in place.
    pub(super) fn between(held: &'a Ruleset, wanted: &'a Ruleset) -> Option<Self> {
        let table = wanted.table()?;
        let chain_fits =
            |chain: &HeldChain| held.chain(&chain.chain.name).is_none_or(|other| other.chain == chain.chain);
        let set_fits = |set: &HeldSet| held.set(&set.set.name).is_none_or(|other| other.set == set.set);
        let fits =
            held.table() == Some(table) && wanted.chains().all(chain_fits) && wanted.sets().all(set_fits);
        fits.then(|| Self { table, held, wanted, edits: edits(held, wanted) })
    }

    /// Makes the chains and sets that are missing, before anything leads to them.
    pub(super) fn prepare<T: Transaction>(&self, transaction: &mut T) {
        let missing: Vec<_> =
            self.wanted.chains().filter(|chain| self.held.chain(&chain.chain.name).is_none()).collect();
        missing.iter().for_each(|chain| transaction.add_chain(self.table, &chain.chain));
        for set in self.wanted.sets().filter(|set| self.held.set(&set.set.name).is_none()) {
            transaction.add_set(self.table, &set.set);
            transaction.add_elements(self.table, &set.set.name, &owned(set.sorted()));
        }
        for rule in missing.iter().flat_map(|chain| &chain.rules) {
            transaction.add_rule(self.table, rule);
        }
    }

    /// Changes the chains and sets that are there: rules that are not the wanted ones, and elements.
    pub(super) fn edit<T: Transaction>(&self, transaction: &mut T) {
        for (set, gone, _) in &self.edits {
            transaction.delete_elements(self.table, set, gone);
        }
        for (set, _, come) in &self.edits {
            transaction.add_elements(self.table, set, come);
        }
        for chain in self.damaged() {
            transaction.flush_chain(self.table, &chain.chain.name);
            chain.rules.iter().for_each(|rule| transaction.add_rule(self.table, rule));
        }
    }

    /// Chains that are there with other rules than the wanted ones.
    fn damaged(&self) -> impl Iterator<Item = &HeldChain> {
        self.wanted
            .chains()
            .filter(|chain| self.held.chain(&chain.chain.name).is_some_and(|held| held != *chain))
    }

    /// Removes chains and sets that nothing uses any more.
    pub(super) fn clean<T: Transaction>(&self, transaction: &mut T) {
        let chains = self.held.chains().map(|held| &held.chain.name);
        let idle: Vec<_> = chains.filter(|name| self.wanted.chain(name).is_none()).collect();
        idle.iter().for_each(|name| transaction.flush_chain(self.table, name));
        let sets = self.held.sets().filter(|held| !held.set.anonymous).map(|held| &held.set.name);
        let sets = sets.filter(|name| self.wanted.set(name).is_none());
        sets.for_each(|name| transaction.delete_set(self.table, name));
        idle.iter().for_each(|name| transaction.delete_chain(self.table, name));
    }

    /// How many elements differ, and chains that are there.
    pub(super) fn len(&self) -> usize {
        let elements = self.edits.iter().map(|(_, gone, come)| gone.len() + come.len());
        elements.sum::<usize>() + self.damaged().count()
    }
}

fn edits<'a>(held: &Ruleset, wanted: &'a Ruleset) -> Vec<(&'a str, Vec<Element>, Vec<Element>)> {
    // What packets write is theirs.
    let followed = wanted.sets().filter(|set| !set.set.dynamic);
    let edits = followed.filter_map(|wanted| {
        let held = held.set(&wanted.set.name)?;
        let (gone, come) = match wanted.set.content {
            SetContent::Ranges => whole(held, wanted),
            _ => (missing(held, wanted), missing(wanted, held)),
        };
        Some((&*wanted.set.name, gone, come))
    });
    edits.collect()
}

/// Ranges hang together by start and end, so they are changed all or not at all.
fn whole(held: &HeldSet, wanted: &HeldSet) -> (Vec<Element>, Vec<Element>) {
    let (held, wanted) = (held.sorted(), wanted.sorted());
    if held == wanted { (Vec::new(), Vec::new()) } else { (owned(held), owned(wanted)) }
}

/// The elements of a set that another one does not have.
fn missing(set: &HeldSet, other: &HeldSet) -> Vec<Element> {
    set.elements().filter(|element| other.get(&element.key) != Some(element)).cloned().collect()
}

fn owned(elements: Vec<&Element>) -> Vec<Element> {
    elements.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests;
