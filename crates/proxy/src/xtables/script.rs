//! What is given to `iptables-restore` at once: it changes each table as one.

use std::fmt;

use super::lines::Lines;
use super::text::{Rule, Tables};

/// Changes of some tables, in the order in which tables are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Script {
    sections: Vec<(&'static str, Section)>,
}

/// Changes of one table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Section {
    chains: Lines,
    /// Rules, and chains to be deleted.
    pub(crate) rules: Lines,
}

impl Script {
    /// The changes of a table.
    pub(crate) fn section(&mut self, table: &'static str) -> &mut Section {
        let place = match self.sections.iter().position(|(name, _)| *name == table) {
            Some(place) => place,
            None => {
                self.sections.push((table, Section::default()));
                self.sections.len() - 1
            }
        };
        &mut self.sections[place].1
    }

    /// How many chains and rules it writes or deletes.
    pub(crate) fn len(&self) -> usize {
        self.sections.iter().map(|(_, section)| section.chains.len() + section.rules.len()).sum()
    }

    /// How many rules of a table it writes, with chains that it deletes.
    pub(crate) fn rules(&self, table: &str) -> usize {
        let section = self.sections.iter().find(|(name, _)| *name == table);
        section.map_or(0, |(_, section)| section.rules.len())
    }

    /// Whether it changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Does to these tables what loading the script would do.
    pub(crate) fn load_into(&self, tables: &mut Tables) {
        for (name, Section { chains, rules }) in &self.sections {
            let table = tables.table_mut(name);
            let declared =
                chains.as_str().lines().filter_map(|line| line.strip_prefix(':')?.split(' ').next());
            declared.for_each(|chain| table.chain_mut(chain).rules.clear());
            for line in rules.as_str().lines() {
                let mut words = line.splitn(3, ' ');
                match (words.next(), words.next(), words.next()) {
                    (Some("-A"), Some(chain), rule) => {
                        table.chain_mut(chain).rules.push(Rule::new(rule.unwrap_or_default()));
                    }
                    (Some("-X"), Some(chain), _) => table.remove(chain),
                    _ => {}
                }
            }
        }
    }
}

impl Section {
    /// Makes a chain of ours, or empties it.
    pub(crate) fn declare(&mut self, chain: &str) {
        self.chains.line(format_args!(":{chain} - [0:0]"));
    }

    /// Whether it makes or empties this chain.
    pub(crate) fn declares(&self, chain: &str) -> bool {
        let declared =
            |line: &str| line.strip_prefix(':').and_then(|line| line.split(' ').next()) == Some(chain);
        self.chains.as_str().lines().any(declared)
    }

    /// Deletes a chain. It is emptied first, so that it leads nowhere.
    pub(crate) fn delete(&mut self, chain: &str) {
        self.declare(chain);
        self.rules.line(format_args!("-X {chain}"));
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (table, Section { chains, rules }) in &self.sections {
            if !chains.is_empty() || !rules.is_empty() {
                write!(f, "*{table}\n{}{}COMMIT\n", chains.as_str(), rules.as_str())?;
            }
        }
        Ok(())
    }
}
