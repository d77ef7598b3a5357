//! One family's rules, as compiled and as the kernel holds them.

use std::collections::BTreeSet;

use service::Family;

use crate::iptables::compile::{CANARY, JUMPS};
use crate::iptables::ours::{is_ours, is_service_chain};
use crate::iptables::rules::{Change, Rules};
use crate::mode::RuleCount;
use crate::xtables::Failure;
use crate::xtables::Place;
use crate::xtables::Programs;
use crate::xtables::Script;
use crate::xtables::text::{Rule, Table, Tables};
use crate::xtables::{Platform, same};

/// Tables that have a canary.
const TABLES: [&str; 3] = ["mangle", "nat", "filter"];

/// Tables whose rules are counted.
const COUNTED: [&str; 2] = ["filter", "nat"];

/// What the kernel shows as long as nobody flushed our rules: a chain, and what one of its rules ends with.
const WITNESSES: [(&str, &str, &str); 5] = [
    ("mangle", CANARY, ""),
    ("nat", "KUBE-MARK-MASQ", "-j MARK "),
    ("nat", "PREROUTING", "-j KUBE-SERVICES"),
    ("filter", "KUBE-FORWARD", "-j ACCEPT"),
    ("filter", "FORWARD", "-j KUBE-FORWARD"),
];

/// One family's rules.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) rules: Rules,
    programs: Programs,
    /// How many rules of each table the last write had.
    last: [usize; 2],
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Written {
    /// Chains and rules.
    pub(super) lines: usize,
    /// Whether that was all of them.
    pub(super) all: bool,
    /// Whether a change did not fit what the kernel held.
    pub(super) misfit: bool,
}

impl Half {
    pub(super) fn new(programs: Programs, family: Family, platform: Platform) -> Self {
        Self { rules: Rules::new(family, platform), programs, last: [0; 2] }
    }

    /// Writes what changed. A change that the kernel refuses does not fit what it holds; then all is written.
    pub(super) fn write(&mut self, place: &Place, change: &Change) -> Result<Written, Failure> {
        if change.everything {
            return self.write_all(place);
        }
        let script = self.rules.script(change);
        self.last = COUNTED.map(|table| script.rules(table));
        if script.is_empty() {
            return Ok(Written::default());
        }
        match self.programs.restore(place, &script) {
            Ok(()) => Ok(Written { lines: script.len(), ..Written::default() }),
            Err(failure @ Failure::Refused { .. }) => {
                tracing::warn!(%failure, "a change does not fit the rules that are there; loading all of them");
                Ok(Written { misfit: true, ..self.write_all(place)? })
            }
            Err(failure) => Err(failure),
        }
    }

    /// Writes all, whatever the kernel holds, and deletes our chains that nothing leads to.
    fn write_all(&mut self, place: &Place) -> Result<Written, Failure> {
        let held = self.programs.tables(place)?;
        let mut script = self.rules.everything();
        self.delete_stale(&held, &mut script);
        lead_in(&held, &mut script);
        self.last = COUNTED.map(|table| script.rules(table));
        self.programs.restore(place, &script).map_err(Failure::of_whole)?;
        Ok(Written { lines: script.len(), all: true, misfit: false })
    }

    /// How many rules there are, and how many the last write had.
    pub(super) fn rule_counts(&self) -> [RuleCount; 2] {
        let (filter, nat) = self.rules.counts();
        let (family, [last_filter, last_nat]) = (self.rules.family(), self.last);
        let [filter_table, nat_table] = COUNTED;
        [
            RuleCount { family, table: filter_table, total: filter, last: last_filter },
            RuleCount { family, table: nat_table, total: nat, last: last_nat },
        ]
    }

    /// Deletes chains of Services that are gone. One that somebody else's rule leads to is emptied and stays:
    /// the kernel would refuse all for it.
    fn delete_stale(&self, held: &Tables, script: &mut Script) {
        let in_use = self.rules.in_use();
        let chains = || held.table("nat").into_iter().flat_map(Table::chains);
        let others = chains().filter(|chain| !is_ours("nat", &chain.name));
        let led_to: BTreeSet<_> = others.flat_map(|chain| &chain.rules).filter_map(Rule::target).collect();
        for chain in chains().filter(|chain| is_service_chain(&chain.name) && !in_use.contains(&chain.name)) {
            match led_to.contains(&chain.name) {
                true => script.section("nat").declare(&chain.name),
                false => script.section("nat").delete(&chain.name),
            }
        }
    }

    /// Whether somebody flushed our rules.
    pub(super) fn was_removed(&self, place: &Place) -> Result<bool, Failure> {
        for (table, chain, rule) in WITNESSES {
            let listed = self.programs.list(place, table, chain)?;
            if listed.is_none_or(|listed| !listed.contains(rule)) {
                tracing::warn!(table, chain, "somebody removed the Service rules; loading them again");
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether there are too many rules to write all of them without need.
    pub(super) fn is_large(&self) -> bool {
        self.rules.is_large()
    }
}

/// Leads from built-in chains into ours where nothing does so far, and makes the canaries.
fn lead_in(held: &Tables, script: &mut Script) {
    for jump in JUMPS {
        let wanted = Rule::new(jump.to_string());
        let there = held
            .chain(jump.table, jump.from)
            .is_some_and(|chain| chain.rules.iter().any(|rule| same(rule, &wanted)));
        let section = script.section(jump.table);
        // Of the chains jumped to, only this one may be without rules of ours.
        if jump.shared && held.chain(jump.table, jump.to).is_none() && !section.declares(jump.to) {
            section.declare(jump.to);
        }
        if !there {
            section.rules.line(format_args!("-I {} {wanted}", jump.from));
        }
    }
    for table in TABLES {
        script.section(table).declare(CANARY);
    }
}
