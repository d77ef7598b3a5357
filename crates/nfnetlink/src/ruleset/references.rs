//! What leads to chains and uses sets, counted, so that nothing goes that something needs.

use std::collections::HashMap;

use crate::Verdict;
use crate::element::{Element, ElementData};
use crate::expr::Expr;
use crate::rule::Rule;

/// How often chains and sets are referred to.
#[derive(Debug, Clone, Default)]
pub(super) struct References {
    chains: HashMap<String, usize>,
    sets: HashMap<String, usize>,
}

impl References {
    pub(super) fn to_chain(&self, name: &str) -> usize {
        self.chains.get(name).copied().unwrap_or(0)
    }

    pub(super) fn to_set(&self, name: &str) -> usize {
        self.sets.get(name).copied().unwrap_or(0)
    }

    pub(super) fn add_rule(&mut self, rule: &Rule) {
        rule.expressions.iter().filter_map(chain_of).for_each(|chain| add(&mut self.chains, chain));
        rule.expressions.iter().filter_map(Expr::set).for_each(|set| add(&mut self.sets, set));
    }

    pub(super) fn remove_rule(&mut self, rule: &Rule) {
        rule.expressions.iter().filter_map(chain_of).for_each(|chain| remove(&mut self.chains, chain));
        rule.expressions.iter().filter_map(Expr::set).for_each(|set| remove(&mut self.sets, set));
    }

    pub(super) fn add_element(&mut self, element: &Element) {
        if let Some(chain) = element_chain(element) {
            add(&mut self.chains, chain);
        }
    }

    pub(super) fn remove_element(&mut self, element: &Element) {
        if let Some(chain) = element_chain(element) {
            remove(&mut self.chains, chain);
        }
    }
}

/// The chain an expression leads to.
pub(super) fn chain_of(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Verdict(verdict) => verdict.chain(),
        _ => None,
    }
}

/// The chain an element leads to.
pub(super) fn element_chain(element: &Element) -> Option<&str> {
    match &element.data {
        ElementData::Verdict(verdict) => Verdict::chain(verdict),
        _ => None,
    }
}

fn add(counts: &mut HashMap<String, usize>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}

fn remove(counts: &mut HashMap<String, usize>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            counts.remove(name);
        }
    }
}
