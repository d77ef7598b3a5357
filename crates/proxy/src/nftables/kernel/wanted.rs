//! All that the table is to hold.

use nfnetlink::{Ruleset as Held, Table, Transaction};

use super::chains::Chains;
use crate::nftables::layout::{self, Edits};
use crate::nftables::ruleset::Change;
use crate::nftables::settings::{Settings, Surroundings};

/// Everything at once: what an empty kernel needs.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    settings: &'a Settings,
    pub(super) edits: Edits,
}

impl<'a> Wanted<'a> {
    /// What these changes make of nothing.
    pub(crate) fn new(settings: &'a Settings, surroundings: &Surroundings, all: &[Change]) -> Self {
        let mut edits = layout::edits(all);
        edits.surround(&Surroundings::default(), surroundings);
        Self { settings, edits }
    }

    /// Makes the table and all in it.
    pub(super) fn write(&self, table: &Table, transaction: &mut impl Transaction) {
        transaction.add_table(table);
        layout::base(transaction, table, self.settings);
        for chain in self.chains().used() {
            chain.make(self.settings, table, transaction);
        }
        self.edits.write(table, transaction);
    }

    /// The chains that its elements lead to.
    pub(super) fn chains(&self) -> Chains {
        Chains::of(&self.edits)
    }

    /// The table as a value.
    pub(crate) fn ruleset(&self) -> Held {
        let mut ruleset = Held::new();
        self.write(&layout::table(), &mut ruleset);
        ruleset
    }
}
