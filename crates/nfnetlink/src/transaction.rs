//! Changes of a ruleset, as something that can be said to the kernel and to a value alike.

use crate::Family;
use crate::chain::Chain;
use crate::element::Element;
use crate::rule::Rule;
use crate::set::Set;
use crate::table::Table;

/// A list of changes that happen all at once or not at all.
///
/// [`Batch`](crate::Batch) collects them for the kernel, [`Ruleset`](crate::Ruleset) carries them out on a
/// value. What is refused, is refused at the end, by name.
pub trait Transaction {
    /// Makes a table unless it is there.
    fn add_table(&mut self, table: &Table);

    /// Deletes a table with all that is in it.
    fn delete_table(&mut self, table: &Table);

    /// Makes a chain unless it is there.
    fn add_chain(&mut self, table: &Table, chain: &Chain);

    /// Deletes the rules of a chain.
    fn flush_chain(&mut self, table: &Table, chain: &str);

    /// Deletes a chain. It is refused while a rule or an element leads to it or it has rules that the same
    /// transaction did not flush.
    fn delete_chain(&mut self, table: &Table, chain: &str);

    /// Appends a rule to its chain.
    fn add_rule(&mut self, table: &Table, rule: &Rule);

    /// Makes a set or map unless it is there.
    fn add_set(&mut self, table: &Table, set: &Set);

    /// Deletes a set or map with its elements. It is refused while a rule uses it.
    fn delete_set(&mut self, table: &Table, set: &str);

    /// Adds elements. An element with the key of another one but other data is refused; delete that first.
    fn add_elements(&mut self, table: &Table, set: &str, elements: &[Element]);

    /// Deletes elements by their keys. A key that is not there is refused.
    fn delete_elements(&mut self, table: &Table, set: &str, elements: &[Element]);
}

/// How messages name an object of a table.
pub(crate) fn named(what: &str, table: &Table, name: &str) -> String {
    let (family, table): (Family, _) = (table.family, &table.name);
    format!("{what} {family} {table} {name}")
}
