//! Removing all that the mode made, in both kinds of tables, and nothing else.

use std::collections::BTreeSet;

use service::Family;

use crate::iptables::compile::JUMPS;
use crate::iptables::ours::{is_ours, is_shared};
use crate::xtables::Failure;
use crate::xtables::Place;
use crate::xtables::Script;
use crate::xtables::same;
use crate::xtables::text::{Chain, Rule, Tables};
use crate::xtables::{Programs, Variant};

/// The chain by which a kubelet shows that it is at work here, and looks after the chain it shares with us.
const KUBELET: &str = "KUBE-KUBELET-CANARY";

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
            let removed = remove(place, &Programs::new(kind, family));
            outcome = outcome.and(removed);
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
    let kubelet = held.chain("mangle", KUBELET).is_some();
    for table in ["filter", "nat", "mangle"] {
        let Some(table_held) = held.table(table) else { continue };
        let is_ours =
            |chain: &&Chain| is_ours(table, &chain.name) || (is_shared(table, &chain.name) && !kubelet);
        let (ours, others): (Vec<_>, Vec<_>) = table_held.chains().iter().partition(is_ours);
        let section = script.section(table);
        let mut led_to = BTreeSet::new();
        for (chain, rule) in others.iter().flat_map(|chain| chain.rules.iter().map(move |rule| (chain, rule)))
        {
            let ours = JUMPS.iter().filter(|jump| jump.table == table && jump.from == chain.name);
            let mut ours = ours.filter(|jump| !jump.shared || !kubelet);
            if ours.any(|jump| same(rule, &Rule::new(jump.to_string()))) {
                section.rules.line(format_args!("-D {} {rule}", chain.name));
            } else {
                led_to.extend(rule.target());
            }
        }
        for chain in ours {
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
    use crate::iptables::scene::{Scene, service, slice};

    /// Our rules, and those of others around them.
    fn held(kubelet: bool) -> Tables {
        let scene = Scene::new(&[
            service("ns1", "svc1", "172.30.0.41", serde_json::json!({})),
            slice("ns1", "svc1", &[("10.180.0.1", None)]),
        ]);
        let mut text = scene.tables().to_string();
        text.push_str("*nat\n:CNI-HOSTPORT - [0:0]\n-A PREROUTING -j CNI-HOSTPORT\nCOMMIT\n");
        text.push_str("*mangle\n:KUBE-PROXY-CANARY - [0:0]\nCOMMIT\n");
        if kubelet {
            text.push_str("*mangle\n:KUBE-KUBELET-CANARY - [0:0]\nCOMMIT\n");
        }
        Tables::parse(&text).unwrap()
    }

    #[test]
    fn only_ours_is_removed() {
        let script = removal(&held(false)).to_string();
        assert!(!script.contains("CNI-HOSTPORT"));
        for line in
            ["-X KUBE-SERVICES", "-X KUBE-SVC-XPGD46QRK7WJZT7O", "-X KUBE-FIREWALL", "-X KUBE-PROXY-CANARY"]
        {
            assert!(script.lines().any(|other| other == line), "{line}");
        }
        assert_eq!(script.lines().filter(|line| line.starts_with("-D ")).count(), JUMPS.len());
    }

    #[test]
    fn what_the_kubelet_looks_after_stays() {
        let script = removal(&held(true)).to_string();
        assert!(!script.contains("KUBE-FIREWALL") && !script.contains(KUBELET));
    }

    #[test]
    fn a_chain_that_somebody_elses_rule_leads_to_is_emptied_and_stays() {
        let mut tables = held(false);
        let foreign = Rule::new("-s 10.1.0.0/16 -j KUBE-MARK-MASQ");
        tables.table_mut("nat").chain_mut("CNI-HOSTPORT").rules.push(foreign);
        let script = removal(&tables).to_string();
        assert!(script.contains(":KUBE-MARK-MASQ - [0:0]") && !script.contains("-X KUBE-MARK-MASQ"));
    }
}
