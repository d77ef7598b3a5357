//! Taking over the table that an earlier run left.
//!
//! If the table was written by the same layout with the same settings and nobody touched its rules, only the
//! elements that differ are changed, and no packet notices the restart. Otherwise the table is replaced. (A
//! replacement is atomic for each lookup but not for each packet: one that is between two chains at that moment
//! may be refused. So it is for upgrades and repairs.)

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hasher};

use nfnetlink::{Batch, Element, Error, Socket, Table, Transaction};

use crate::nftables::layout::{self, Edits, PickChain};
use crate::nftables::settings::Settings;

/// A table in the kernel that is ours to go on with.
#[derive(Debug)]
pub(super) struct Held {
    /// Chains that pick endpoints.
    chains: HashSet<String>,
    /// Elements of the sets that follow the cluster.
    elements: BTreeMap<&'static str, HashMap<Vec<u8>, Element>>,
}

impl Held {
    /// Reads the table; `None` if it is not there or not as we would write it. `wanted` are the chains that will
    /// be used.
    pub(super) fn read(
        socket: &mut Socket,
        table: &Table,
        settings: &Settings,
        wanted: &[PickChain],
    ) -> Result<Option<Self>, Error> {
        if !socket.tables()?.contains(table) {
            return Ok(None);
        }
        let mut rules: HashMap<String, usize> = HashMap::new();
        for chain in socket.rule_chains(table)? {
            *rules.entry(chain).or_default() += 1;
        }
        for (chain, count) in layout::rule_counts(settings) {
            if rules.remove(&chain) != Some(count) {
                return Ok(None);
            }
        }
        let damaged = |chain: &PickChain| {
            rules.get(&chain.name()).is_some_and(|count| *count != chain.rules(settings).len())
        };
        if wanted.iter().any(damaged) {
            return Ok(None);
        }
        let mut elements = BTreeMap::new();
        for set in layout::cluster_sets() {
            let held = socket.elements(table, &set.name)?;
            let by_key = held.into_iter().map(|element| (element.key.clone(), element)).collect();
            elements.insert(&*set.name, by_key);
        }
        Ok(Some(Self { chains: rules.into_keys().collect(), elements }))
    }

    /// Whether the table has this chain.
    pub(super) fn has(&self, chain: &PickChain) -> bool {
        self.chains.contains(&chain.name())
    }

    /// Chains that nothing of what is wanted uses.
    pub(super) fn idle_chains(&self, wanted: &[PickChain]) -> Vec<String> {
        let wanted: HashSet<_> = wanted.iter().map(PickChain::name).collect();
        self.chains.iter().filter(|chain| !wanted.contains(*chain)).cloned().collect()
    }

    /// What turns the held elements into the wanted ones.
    pub(super) fn difference(mut self, wanted: Edits) -> Edits {
        let mut edits = Edits::default();
        for (set, elements) in wanted.add {
            let held = self.elements.entry(set).or_default();
            for element in elements {
                match held.remove(&element.key) {
                    Some(same) if same == element => {}
                    other => {
                        edits.delete.entry(set).or_default().extend(other);
                        edits.add.entry(set).or_default().push(element);
                    }
                }
            }
        }
        for (set, left) in self.elements.into_iter().filter(|(_, left)| !left.is_empty()) {
            edits.delete.entry(set).or_default().extend(left.into_values());
        }
        edits
    }
}

/// The proxy's table, with a number in its comment that changes with layout and settings.
pub(super) fn marked_table(settings: &Settings) -> Table {
    let mut batch = Batch::new();
    layout::base(&mut batch, settings);
    for rule in PickChain::samples().iter().flat_map(|chain| chain.rules(settings)) {
        batch.add_rule(&layout::table(), &rule);
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(batch.bytes());
    let mut table = layout::table();
    table.comment = format!("{}, layout {:016x}", table.comment, hasher.finish());
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_mark_follows_the_settings() {
        let settings = |range: &str, masquerade_mark: u32| {
            let config = Config { masquerade_mark, ..Config::new("node", vec![range.parse().unwrap()]) };
            let (cluster, node) = (service::Cluster::new(), crate::NodeFacts::default());
            Settings::of(&crate::Sight { cluster: &cluster, node: &node, config: &config })
        };
        let usual = settings("10.244.0.0/16", 0x4000);
        assert_eq!(marked_table(&usual), marked_table(&usual.clone()));
        for other in [settings("10.244.0.0/15", 0x4000), settings("10.244.0.0/16", 0x8000)] {
            assert_ne!(marked_table(&usual), marked_table(&other));
        }
    }

    #[test]
    fn only_elements_that_differ_are_changed() {
        let element = |key: u8, comment: &str| Element { comment: comment.into(), ..Element::key(vec![key]) };
        let by_key = |elements: &[Element]| elements.iter().map(|e| (e.key.clone(), e.clone())).collect();
        let held = Held {
            chains: HashSet::new(),
            elements: BTreeMap::from([
                ("a", by_key(&[element(1, "same"), element(2, "old"), element(3, "gone")])),
                ("b", by_key(&[element(9, "gone")])),
            ]),
        };
        let wanted = vec![element(1, "same"), element(2, "new"), element(4, "new")];
        let wanted = Edits { add: BTreeMap::from([("a", wanted)]), ..Edits::default() };
        let edits = held.difference(wanted);
        assert_eq!(edits.add["a"], [element(2, "new"), element(4, "new")]);
        assert_eq!(edits.delete["a"], [element(2, "old"), element(3, "gone")]);
        assert_eq!(edits.delete["b"], [element(9, "gone")]);
    }
}
