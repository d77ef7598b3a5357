//! Removing all that the mode made, in both kinds of tables, and nothing else.

use std::collections::BTreeSet;

use service::Family;

use crate::userspace::compile::{FILTER_CHAINS, JUMPS, NAT_CHAINS};
use crate::xtables::text::{Rule, Tables};
use crate::xtables::{Failure, Place, Programs, Script, Variant, same};

/// Removes our chains and what leads to them, of both families and both kinds of iptables. What is not there is
/// no error, and neither is a kind that does not work here.
///
/// A chain of ours that somebody else's rule leads to is emptied and stays.
///
/// # Errors
/// The first failure, after all others were tried.
pub fn cleanup(place: &Place) -> Result<(), Failure> {
    let mut outcome = Ok(());
    for family in Family::ALL {
        let mut kinds = vec![Variant::Legacy, Variant::Nft];
        kinds.retain(|kind| Programs::new(*kind, family).version(place).is_ok());
        if kinds.is_empty() {
            kinds.push(Variant::Default);
        }
        for kind in kinds {
            outcome = outcome.and(remove(place, &Programs::new(kind, family)));
        }
    }
    outcome
}

fn remove(place: &Place, programs: &Programs) -> Result<(), Failure> {
    let held = match programs.tables(place) {
        Err(Failure::NoProgram | Failure::Unusable { .. }) => return Ok(()),
        held => held?,
    };
    let script = removal(&held);
    if script.is_empty() { Ok(()) } else { programs.restore(place, &script) }
}

/// What removes ours from these tables.
fn removal(held: &Tables) -> Script {
    let mut script = Script::default();
    for (name, ours) in [("filter", FILTER_CHAINS.as_slice()), ("nat", NAT_CHAINS.as_slice())] {
        let Some(table) = held.table(name) else { continue };
        let section = script.section(name);
        let is_ours = |chain: &str| ours.contains(&chain);
        let mut led_to = BTreeSet::new();
        for chain in table.chains().iter().filter(|chain| !is_ours(&chain.name)) {
            for rule in &chain.rules {
                let mut jumps = JUMPS.iter().filter(|jump| jump.table == name && jump.from == chain.name);
                match jumps.any(|jump| same(rule, &Rule::new(jump.rule))) {
                    true => section.rules.line(format_args!("-D {} {rule}", chain.name)),
                    false => led_to.extend(rule.target()),
                }
            }
        }
        for chain in table.chains().iter().filter(|chain| is_ours(&chain.name)) {
            match led_to.contains(&chain.name) {
                true => section.declare(&chain.name),
                false => section.delete(&chain.name),
            }
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ours_is_removed_and_what_others_lead_to_is_emptied() {
        let mut held = Tables::new();
        for jump in JUMPS {
            let table = held.table_mut(jump.table);
            table.chain_mut(jump.from).rules.push(Rule::new(jump.rule));
            table.chain_mut(jump.to);
        }
        held.table_mut("nat").chain_mut("PREROUTING").rules.push(Rule::new("-j CNI-HOSTPORT"));
        held.table_mut("nat").chain_mut("KUBE-SERVICES").rules.push(Rule::new("-j KUBE-PORTALS-HOST"));
        let script = removal(&held).to_string();
        assert!(!script.contains("CNI-HOSTPORT") && !script.contains("KUBE-SERVICES"));
        assert_eq!(script.lines().filter(|line| line.starts_with("-D ")).count(), JUMPS.len());
        assert!(script.contains("-X KUBE-PORTALS-CONTAINER") && !script.contains("-X KUBE-PORTALS-HOST"));
    }
}
