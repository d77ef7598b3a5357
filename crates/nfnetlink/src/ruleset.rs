//! A table as a value: what the kernel would hold after a list of changes.

mod apply;
mod ordered;
mod references;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::chain::Chain;
use crate::element::{Element, ElementData};
use crate::error::{Error, Refusal};
use crate::expr::Expr;
use crate::live::Live;
use crate::rule::Rule;
use crate::set::Set;
use crate::table::Table;
use crate::transaction::Transaction;
use ordered::Ordered;
use references::References;

/// One table with its sets, elements, chains and rules.
///
/// As a [`Transaction`] it behaves as the kernel does. Two rulesets are equal if they hold the same objects,
/// in whatever order these were made; the order of rules in their chain counts.
#[derive(Debug, Clone, Default)]
pub struct Ruleset {
    table: Option<Table>,
    chains: Ordered<HeldChain>,
    sets: Ordered<HeldSet>,
    references: References,
    refusals: Vec<Refusal>,
}

/// A chain and its rules, in the order of evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldChain {
    /// The chain itself.
    pub chain: Chain,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// A set or map and its elements.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldSet {
    /// The set itself.
    pub set: Set,
    /// By key, without the ends of ranges.
    elements: HashMap<Vec<u8>, Element>,
    /// Ends of ranges, by key.
    ends: HashMap<Vec<u8>, Element>,
}

impl HeldSet {
    fn new(set: Set) -> Self {
        Self { set, elements: HashMap::new(), ends: HashMap::new() }
    }

    /// The elements in any order, those that begin ranges among them.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.elements.values()
    }

    /// The element with this key.
    pub fn get(&self, key: &[u8]) -> Option<&Element> {
        self.elements.get(key)
    }

    /// The elements sorted by key; the end of a range follows its start.
    pub fn sorted(&self) -> Vec<&Element> {
        let mut all: Vec<_> = self.elements.values().chain(self.ends.values()).collect();
        // Where a range ends and the next one begins, the end comes first.
        all.sort_by_key(|element| (&element.key, element.data != ElementData::RangeEnd));
        all
    }

    fn side(&mut self, element: &Element) -> &mut HashMap<Vec<u8>, Element> {
        match element.data {
            ElementData::RangeEnd => &mut self.ends,
            _ => &mut self.elements,
        }
    }
}

impl Ruleset {
    /// Nothing: no table yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets what the kernel counts and how long elements still live, so that only what was written is left.
    pub fn forget_live(&mut self) {
        for set in self.sets.iter_mut() {
            for element in set.elements.values_mut() {
                element.counter = Live::default();
                element.expires = Live::default();
            }
        }
    }

    /// The table, if there is one.
    pub fn table(&self) -> Option<&Table> {
        self.table.as_ref()
    }

    /// The chains, in the order in which they were made.
    pub fn chains(&self) -> impl Iterator<Item = &HeldChain> {
        self.chains.iter()
    }

    /// The chain of this name.
    pub fn chain(&self, name: &str) -> Option<&HeldChain> {
        self.chains.get(name)
    }

    /// The sets and maps, in the order in which they were made.
    pub fn sets(&self) -> impl Iterator<Item = &HeldSet> {
        self.sets.iter()
    }

    /// The set or map of this name.
    pub fn set(&self, name: &str) -> Option<&HeldSet> {
        self.sets.get(name)
    }

    /// Makes all of these changes or, if one is refused, none. It works on a copy; to spare that, make the
    /// changes directly and [`Ruleset::check`] them.
    ///
    /// # Errors
    /// [`Error::Refused`] names every change that was refused.
    pub fn commit(&mut self, changes: impl FnOnce(&mut Self)) -> Result<(), Error> {
        let mut draft = self.clone();
        changes(&mut draft);
        draft.check()?;
        *self = draft;
        Ok(())
    }

    /// Says what was refused so far, and forgets it.
    ///
    /// # Errors
    /// [`Error::Refused`] names every change that was refused since the last call. The others were made.
    pub fn check(&mut self) -> Result<(), Error> {
        match std::mem::take(&mut self.refusals) {
            refusals if refusals.is_empty() => Ok(()),
            refusals => Err(Error::Refused(refusals)),
        }
    }

    /// The changes that make this ruleset where nothing is.
    pub fn replay(&self, transaction: &mut impl Transaction) {
        let Some(table) = &self.table else { return };
        transaction.add_table(table);
        // Elements and rules lead to chains, rules use sets.
        self.chains().for_each(|held| transaction.add_chain(table, &held.chain));
        for held in self.sets().filter(|held| !held.set.anonymous) {
            replay_set(table, held, transaction);
        }
        for rule in self.chains().flat_map(|held| &held.rules) {
            for held in self.anonymous_sets(rule) {
                replay_set(table, held, transaction);
            }
            transaction.add_rule(table, rule);
        }
    }

    /// The sets that belong to a rule, in the order in which it names them.
    fn anonymous_sets<'a>(&'a self, rule: &'a Rule) -> impl Iterator<Item = &'a HeldSet> {
        let used = rule.expressions.iter().filter_map(Expr::set).filter_map(|name| self.set(name));
        used.filter(|held| held.set.anonymous)
    }

    /// The rule with names of its own for its anonymous sets, and these sets: the same for the same rule,
    /// whatever number the kernel gave its sets.
    fn resolved<'a>(&'a self, rule: &'a Rule) -> (Rule, Vec<HeldSet>) {
        let mut rule = rule.clone();
        let mut sets = Vec::new();
        for name in rule.expressions.iter_mut().filter_map(Expr::set_mut) {
            let Some(held) = self.set(name).filter(|held| held.set.anonymous) else { continue };
            let mut held = held.clone();
            held.set.name = format!("#{}", sets.len()).into();
            *name = held.set.name.clone();
            sets.push(held);
        }
        (rule, sets)
    }
}

fn replay_set(table: &Table, held: &HeldSet, transaction: &mut impl Transaction) {
    transaction.add_set(table, &held.set);
    let elements: Vec<_> = held.sorted().into_iter().cloned().collect();
    transaction.add_elements(table, &held.set.name, &elements);
}

impl PartialEq for Ruleset {
    fn eq(&self, other: &Self) -> bool {
        let named = |ruleset: &Self| ruleset.sets().filter(|held| !held.set.anonymous).count();
        self.table == other.table
            && self.chains.len() == other.chains.len()
            && named(self) == named(other)
            && self
                .sets()
                .filter(|held| !held.set.anonymous)
                .all(|held| other.set(&held.set.name) == Some(held))
            && self.chains().all(|held| {
                other.chain(&held.chain.name).is_some_and(|theirs| {
                    held.chain == theirs.chain
                        && held.rules.len() == theirs.rules.len()
                        && held
                            .rules
                            .iter()
                            .zip(&theirs.rules)
                            .all(|(one, two)| self.resolved(one) == other.resolved(two))
                })
            })
    }
}
