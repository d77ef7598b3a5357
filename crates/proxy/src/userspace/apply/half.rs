//! One family's rules, as compiled and as the kernel holds them.

use service::Family;

use crate::userspace::compile::{Chains, JUMPS};
use crate::xtables::text::Rule;
use crate::xtables::{Failure, Place, Programs, same};

/// One family's rules.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) chains: Chains,
    programs: Programs,
    family: Family,
}

impl Half {
    pub(super) fn new(programs: Programs, family: Family) -> Self {
        Self { chains: Chains::new(family), programs, family }
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    /// Writes all chains of ours; with `full`, also what leads to them from built-in ones, where nothing does so far.
    /// Returns how many chains and rules that were.
    pub(super) fn write(&self, place: &Place, full: bool) -> Result<usize, Failure> {
        let mut script = self.chains.script();
        if full {
            let held = self.programs.tables(place)?;
            for jump in JUMPS {
                let wanted = Rule::new(jump.rule);
                let chain = held.chain(jump.table, jump.from);
                if !chain.is_some_and(|chain| chain.rules.iter().any(|rule| same(rule, &wanted))) {
                    script.section(jump.table).rules.line(format_args!("-I {} {wanted}", jump.from));
                }
            }
        }
        let restored = self.programs.restore(place, &script);
        restored.map_err(|failure| if full { failure.of_whole() } else { failure })?;
        Ok(script.len())
    }

    /// Whether somebody flushed our rules.
    pub(super) fn was_removed(&self, place: &Place) -> Result<bool, Failure> {
        for jump in JUMPS {
            let listed = self.programs.list(place, jump.table, jump.from)?;
            if listed.is_none_or(|listed| !listed.contains(&format!("-j {}", jump.to))) {
                tracing::warn!(
                    table = jump.table,
                    chain = jump.from,
                    "somebody removed the Service rules; loading them again"
                );
                return Ok(true);
            }
        }
        Ok(false)
    }
}
