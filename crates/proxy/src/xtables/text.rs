//! Tables, chains and rules as `iptables-restore` reads and `iptables-save` writes them.

mod normal;
mod options;
mod parse;
mod words;

use std::collections::HashMap;
use std::fmt;

pub use normal::Normal;
pub(super) use normal::{masked, number};
pub use options::Opt;
pub use parse::BadDump;
pub use words::{BadWords, quote, words};

/// The tables of one family, in the order they were named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tables {
    tables: Vec<Table>,
}

/// One table: `filter`, `nat`, `mangle`, `raw` or `security`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    chains: Vec<Chain>,
    index: HashMap<String, usize>,
}

/// One chain of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name, at most 28 characters.
    pub name: String,
    /// What becomes of packets that reach the end: only built-in chains have a policy.
    pub policy: Option<String>,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// One rule: what stands behind `-A CHAIN`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule(Box<str>);

impl Tables {
    /// No table.
    pub fn new() -> Self {
        Self::default()
    }

    /// All tables.
    pub fn iter(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter()
    }

    /// The table of this name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// The chain of this name in this table.
    pub fn chain(&self, table: &str, chain: &str) -> Option<&Chain> {
        self.table(table)?.chain(chain)
    }

    /// The table of this name, made if it is not there.
    pub fn table_mut(&mut self, name: &str) -> &mut Table {
        let place = match self.tables.iter().position(|table| table.name == name) {
            Some(place) => place,
            None => {
                self.tables.push(Table { name: name.into(), chains: Vec::new(), index: HashMap::new() });
                self.tables.len() - 1
            }
        };
        &mut self.tables[place]
    }
}

impl Table {
    /// All chains, in the order they were named.
    pub fn chains(&self) -> &[Chain] {
        &self.chains
    }

    /// The chain of this name.
    pub fn chain(&self, name: &str) -> Option<&Chain> {
        Some(&self.chains[self.place(name)?])
    }

    /// The place of a chain among [`Table::chains`].
    pub fn place(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// The chain of this name, made without policy if it is not there.
    pub fn chain_mut(&mut self, name: &str) -> &mut Chain {
        let place = match self.place(name) {
            Some(place) => place,
            None => {
                self.index.insert(name.into(), self.chains.len());
                self.chains.push(Chain { name: name.into(), policy: None, rules: Vec::new() });
                self.chains.len() - 1
            }
        };
        &mut self.chains[place]
    }

    /// Takes a chain away.
    pub(super) fn remove(&mut self, name: &str) {
        if let Some(place) = self.place(name) {
            self.chains.remove(place);
            self.index = self.chains.iter().enumerate().map(|(at, chain)| (chain.name.clone(), at)).collect();
        }
    }
}

impl Rule {
    /// The rule with these arguments.
    pub fn new(arguments: impl Into<Box<str>>) -> Self {
        Self(arguments.into())
    }

    /// Its arguments as they were written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its options in the order they were written.
    ///
    /// # Errors
    /// [`BadWords`] when a quote has no end.
    pub fn options(&self) -> Result<Vec<Opt>, BadWords> {
        Ok(options::options(&words(&self.0)?))
    }

    /// The chain or target that it leads to; `None` if it only counts, or cannot be read.
    pub fn target(&self) -> Option<String> {
        let mut options = self.options().ok()?.into_iter();
        options.find(|option| matches!(option.name.as_str(), "-j" | "-g"))?.values.pop()
    }

    /// A form that is the same for all ways of writing the rule, the kernel's included.
    ///
    /// # Errors
    /// As [`Rule::options`].
    pub fn normal(&self) -> Result<Normal, BadWords> {
        Ok(Normal::of(&self.options()?))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tables.iter().try_for_each(|table| write!(f, "{table}"))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "*{}", self.name)?;
        for chain in &self.chains {
            writeln!(f, ":{} {} [0:0]", chain.name, chain.policy.as_deref().unwrap_or("-"))?;
        }
        for chain in &self.chains {
            for rule in &chain.rules {
                match rule.as_str() {
                    "" => writeln!(f, "-A {}", chain.name)?,
                    arguments => writeln!(f, "-A {} {arguments}", chain.name)?,
                }
            }
        }
        writeln!(f, "COMMIT")
    }
}

/// Whether two rules mean the same.
pub(crate) fn same(one: &Rule, other: &Rule) -> bool {
    one.normal().is_ok_and(|normal| other.normal() == Ok(normal))
}

#[cfg(test)]
mod tests;
