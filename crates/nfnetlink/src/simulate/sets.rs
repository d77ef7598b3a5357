//! Sets of a table, ready to be looked up in.

use std::collections::HashMap;

use crate::element::{Element, ElementData};
use crate::ruleset::{HeldSet, Ruleset};
use crate::set::SetContent;

/// The sets of ranges of a table, sorted; other sets are hash tables already.
#[derive(Debug)]
pub(super) struct Sets<'a> {
    ruleset: &'a Ruleset,
    /// By the name of the set: starts and ends of ranges in order.
    borders: HashMap<&'a str, Vec<&'a Element>>,
}

impl<'a> Sets<'a> {
    pub(super) fn new(ruleset: &'a Ruleset) -> Self {
        let ranges = ruleset.sets().filter(|held| held.set.content == SetContent::Ranges);
        Self { ruleset, borders: ranges.map(|held| (&*held.set.name, held.sorted())).collect() }
    }

    /// The set of this name.
    pub(super) fn get(&self, name: &str) -> Option<&'a HeldSet> {
        self.ruleset.set(name)
    }

    /// What a key meets in a set: its element, or the one at the start of its range.
    pub(super) fn find(&self, held: &'a HeldSet, key: &[u8]) -> Option<&'a Element> {
        let Some(borders) = self.borders.get(&*held.set.name) else { return held.get(key) };
        let behind = borders.partition_point(|border| border.key.as_slice() <= key);
        let last = borders.get(behind.checked_sub(1)?)?;
        (last.data != ElementData::RangeEnd).then_some(*last)
    }
}
