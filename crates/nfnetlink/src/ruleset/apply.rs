//! Changes of a ruleset value, with the refusals of the kernel (`net/netfilter/nf_tables_api.c`).

use rustix::io::Errno;

use super::references::{chain_of, element_chain};
use super::{HeldChain, HeldSet, Ruleset};
use crate::chain::Chain;
use crate::element::Element;
use crate::error::Refusal;
use crate::expr::Expr;
use crate::rule::Rule;
use crate::set::Set;
use crate::table::Table;
use crate::transaction::{Transaction, named};

impl Transaction for Ruleset {
    fn add_table(&mut self, table: &Table) {
        match &self.table {
            None => self.table = Some(table.clone()),
            Some(held) if same(held, table) => {}
            Some(_) => self.refuse(format!("add table {} {}", table.family, table.name), Errno::NOTSUP),
        }
    }

    fn delete_table(&mut self, table: &Table) {
        if self.is_in(table) {
            let refusals = std::mem::take(&mut self.refusals);
            *self = Self { refusals, ..Self::default() };
        } else {
            self.refuse(format!("delete table {} {}", table.family, table.name), Errno::NOENT);
        }
    }

    fn add_chain(&mut self, table: &Table, chain: &Chain) {
        let outcome = match self.chains.get(&chain.name) {
            _ if !self.is_in(table) => Err(Errno::NOENT),
            Some(held)
                if held.chain.base.map(|base| (base.kind, base.hook, base.priority))
                    == chain.base.map(|base| (base.kind, base.hook, base.priority)) =>
            {
                Ok(())
            }
            Some(_) => Err(Errno::EXIST),
            None => {
                self.chains.push(&chain.name, HeldChain { chain: chain.clone(), rules: Vec::new() });
                Ok(())
            }
        };
        self.record(outcome, || format!("add {}", named("chain", table, &chain.name)));
    }

    fn flush_chain(&mut self, table: &Table, chain: &str) {
        let outcome = match self.chains.get_mut(chain) {
            Some(held) if self.table.as_ref().is_some_and(|own| same(own, table)) => {
                Ok(std::mem::take(&mut held.rules))
            }
            _ => Err(Errno::NOENT),
        };
        match outcome {
            Ok(rules) => rules.iter().for_each(|rule| self.forget_rule(rule)),
            Err(errno) => self.refuse(format!("flush {}", named("chain", table, chain)), errno),
        }
    }

    fn delete_chain(&mut self, table: &Table, chain: &str) {
        let outcome = match self.chains.get(chain) {
            None => Err(Errno::NOENT),
            _ if !self.is_in(table) => Err(Errno::NOENT),
            Some(held) if !held.rules.is_empty() || self.references.to_chain(chain) > 0 => Err(Errno::BUSY),
            Some(_) => {
                self.chains.remove(chain);
                Ok(())
            }
        };
        self.record(outcome, || format!("delete {}", named("chain", table, chain)));
    }

    fn add_rule(&mut self, table: &Table, rule: &Rule) {
        let missing_set = |set: &str| self.sets.get(set).is_none();
        let missing_chain = |chain: &str| self.chains.get(chain).is_none();
        let stale = |set: &str| {
            self.sets.get(set).is_some_and(|held| held.set.anonymous) && self.references.to_set(set) > 0
        };
        let outcome = if !self.is_in(table)
            || missing_chain(&rule.chain)
            || rule.expressions.iter().filter_map(Expr::set).any(missing_set)
            || rule.expressions.iter().filter_map(chain_of).any(missing_chain)
        {
            Err(Errno::NOENT)
        } else if rule.expressions.iter().filter_map(Expr::set).any(stale) {
            // An anonymous set belongs to one rule.
            Err(Errno::BUSY)
        } else {
            Ok(())
        };
        if outcome.is_ok() {
            self.references.add_rule(rule);
            if let Some(held) = self.chains.get_mut(&rule.chain) {
                held.rules.push(rule.clone());
            }
        }
        self.record(outcome, || format!("add {}", named("rule in chain", table, &rule.chain)));
    }

    fn add_set(&mut self, table: &Table, set: &Set) {
        let outcome = match self.sets.get(&set.name) {
            _ if !self.is_in(table) => Err(Errno::NOENT),
            Some(held) if held.set.key == set.key && held.set.content == set.content => Ok(()),
            Some(_) => Err(Errno::EXIST),
            None => {
                self.sets.push(&set.name, HeldSet::new(set.clone()));
                Ok(())
            }
        };
        self.record(outcome, || format!("add {}", named("set", table, &set.name)));
    }

    fn delete_set(&mut self, table: &Table, set: &str) {
        let outcome = match self.sets.get(set) {
            None => Err(Errno::NOENT),
            _ if !self.is_in(table) => Err(Errno::NOENT),
            Some(_) if self.references.to_set(set) > 0 => Err(Errno::BUSY),
            Some(_) => {
                self.forget_set(set);
                Ok(())
            }
        };
        self.record(outcome, || format!("delete {}", named("set", table, set)));
    }

    fn add_elements(&mut self, table: &Table, set: &str, elements: &[Element]) {
        if let Some(held) = self.sets.get_mut(set) {
            held.elements.reserve(elements.len());
        }
        for element in elements {
            let outcome = self.add_element(table, set, element);
            self.record(outcome, || about_element("add", table, set, element));
        }
    }

    fn delete_elements(&mut self, table: &Table, set: &str, elements: &[Element]) {
        for element in elements {
            let outcome = self.delete_element(table, set, element);
            self.record(outcome, || about_element("delete", table, set, element));
        }
    }
}

impl Ruleset {
    fn add_element(&mut self, table: &Table, set: &str, element: &Element) -> Result<(), Errno> {
        if !self.is_in(table) || element_chain(element).is_some_and(|chain| self.chains.get(chain).is_none())
        {
            return Err(Errno::NOENT);
        }
        let held = self.sets.get_mut(set).ok_or(Errno::NOENT)?;
        if element.key.len() != held.set.key.len() as usize {
            return Err(Errno::INVAL);
        }
        let side = held.side(element);
        match side.get(&element.key) {
            Some(other) if other.data == element.data => {}
            Some(_) => return Err(Errno::EXIST),
            None => {
                side.insert(element.key.clone(), element.clone());
                self.references.add_element(element);
            }
        }
        Ok(())
    }

    fn delete_element(&mut self, table: &Table, set: &str, element: &Element) -> Result<(), Errno> {
        if !self.is_in(table) {
            return Err(Errno::NOENT);
        }
        let held = self.sets.get_mut(set).ok_or(Errno::NOENT)?;
        let gone = held.side(element).remove(&element.key).ok_or(Errno::NOENT)?;
        self.references.remove_element(&gone);
        Ok(())
    }

    /// Forgets what a deleted rule refers to, and the sets that belong to it.
    fn forget_rule(&mut self, rule: &Rule) {
        self.references.remove_rule(rule);
        for set in rule.expressions.iter().filter_map(Expr::set) {
            if self.sets.get(set).is_some_and(|held| held.set.anonymous) {
                self.forget_set(set);
            }
        }
    }

    fn forget_set(&mut self, set: &str) {
        if let Some(gone) = self.sets.remove(set) {
            gone.elements.values().for_each(|element| self.references.remove_element(element));
        }
    }

    fn is_in(&self, table: &Table) -> bool {
        self.table.as_ref().is_some_and(|own| same(own, table))
    }

    fn record(&mut self, outcome: Result<(), Errno>, message: impl FnOnce() -> String) {
        if let Err(errno) = outcome {
            self.refuse(message(), errno);
        }
    }

    fn refuse(&mut self, message: String, errno: Errno) {
        self.refusals.push(Refusal { message, errno, detail: String::new() });
    }
}

/// Whether both mean the same table: the comment is no part of its name.
fn same(one: &Table, two: &Table) -> bool {
    one.family == two.family && one.name == two.name
}

fn about_element(verb: &str, table: &Table, set: &str, element: &Element) -> String {
    format!("{verb} element {:02x?} of {}", element.key, named("set", table, set))
}
